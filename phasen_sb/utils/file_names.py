"""Names of the files in training runs and in exported models."""

# Of both.
DESCRIPTION = "hyperparams.yaml"
RESULTS = "results.json"

# Of a training run. The folder of checkpoints also holds what the run may not
# lose: its settings and the manifests of its data.
CHECKPOINTS = "save"
SETTINGS = "settings.json"
DATA = "data.json"
SCORES = "scores.csv"

# Of an exported model.
WEIGHTS = "model.ckpt"
CARD = "README.md"
