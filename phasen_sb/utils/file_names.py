"""Names of files that one package writes and another reads."""

# Of a training run and of an exported model.
DESCRIPTION = "hyperparams.yaml"
RESULTS = "results.json"

# Of a training run: what SpeechBrain logs, of each epoch and of all else; the
# folder of checkpoints, and in it what records the data and the settings.
TRAIN_LOG = "train_log.txt"
LOG = "log.txt"
CHECKPOINTS = "save"
DATA_RECORD = "data.json"
SETTINGS = "settings.json"

# Of an exported model.
WEIGHTS = "model.ckpt"
CARD = "README.md"

# Of what ``phasen score`` writes; the second also of a training run.
SCORES = "scores.json"
SCORES_PER_FILE = "scores.csv"
#: Ends the stem of an output that ``phasen enhance`` writes beside its input.
ENHANCED = ".enhanced"
#: Ends the stem of what ``phasen enhance --residual`` writes beside an output.
RESIDUAL = ".residual"
