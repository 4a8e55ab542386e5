"""The keys of a recipe's YAML: what each is, may be and does."""

import math
from dataclasses import dataclass

# Kinds of values.
WHOLE = "a whole number"
NUMBER = "a number"
NUMBER_OR_TRUE = "a number or True"
SWITCH = "True or False"
SWITCH_OR_AUTO = "True, False or auto"
SWITCH_OR_RUNNING = "True, False or running"
LIST = "a list"
TEXT = "text"
TEXT_OR_LIST = "text or a list"
OBJECT = "an object"


@dataclass(frozen=True)
class Key:
    """A top-level key of a recipe's YAML."""

    kind: str  #: of its value; what takes texts and objects checks them
    effect: str  #: what it does, one sentence
    low: float = -math.inf  #: limit of a number
    high: float = math.inf  #: limit of a number
    optional: bool = False  #: whether it may be null
    #: ``recipes/train.py`` or the Brain reads it, so every recipe has it.
    required: bool = False
    read: bool = False  #: They read it from recipes that have it.
    #: A resumed run may change it: it says where files are, does not enter
    #: the weights, or only lengthens the training.
    may_change: bool = False
    #: It is a share of the remixed batches, and does nothing without them.
    remix_share: bool = False
    #: It names data to train on; without any the sample corpus is taken.
    data: bool = False


def _whole(effect, low, high=math.inf, **flags):
    return Key(WHOLE, effect, low, high, **flags)


def _number(effect, low=-math.inf, high=math.inf, **flags):
    return Key(NUMBER, effect, low, high, **flags)


def _share(effect, **flags):
    return Key(NUMBER, effect, 0, 1, **flags)


def _remix_share(effect):
    return _share(effect, remix_share=True)


def _switch(effect, **flags):
    return Key(SWITCH, effect, **flags)


def _text(effect, **flags):
    return Key(TEXT, effect, **flags)


def _place(effect, **flags):
    return Key(TEXT, effect, may_change=True, **flags)


def _data(effect):
    return _place(effect, optional=True, data=True)


def _required(effect, **flags):
    return Key(OBJECT, effect, required=True, **flags)


KEYS = {
    # The run
    "seed": _whole(
        "Seeds all random numbers; the same seed gives the same run.",
        low=0,
        high=2**32 - 1,
        required=True,
    ),
    "name": _text("Names the folder of the results."),
    "output_folder": _place("Receives all that a run writes.", required=True),
    "save_folder": _place("Receives checkpoints and manifests.", required=True),
    "train_log": _place("Receives a line for each epoch."),
    "init_from": _text(
        "Weights to start from: a run's folder or an exported model.",
        optional=True,
        required=True,
    ),
    "init_partly": _text(
        "Part of the network, such as amplitude_head, of which init_from gives "
        "only weights that fit; the rest of it begins anew.",
        optional=True,
        read=True,
    ),
    # Data
    "data_folder": _data("VoiceBank-DEMAND, one like it, or shards of pairs."),
    "noisy_folder": _data("Noisy recordings, with clean_folder."),
    "clean_folder": _data(
        "Clean speech, with noisy_folder or noise_folder, which is mixed in."
    ),
    "noise_folder": _data("Noises for clean_folder; both may be shards."),
    "extra_clean_folder": _place("More speech to train on.", optional=True),
    "extra_noise_folder": _place("More noise to train on.", optional=True),
    "sample_rate": _whole(
        "Rate that the network works at (Hz); files of other rates are "
        "resampled.",
        low=1,
        required=True,
    ),
    "valid_speakers": Key(
        TEXT_OR_LIST, "Speakers of data_folder to validate on."
    ),
    "valid_fraction": _share("Share of your own files to validate on."),
    "test_fraction": _share("Share of your own files to test on."),
    "group_regex": _text(
        "Files in whose names it finds the same text stay in one split.",
        optional=True,
    ),
    "snr_low": _number("Lowest SNR of mixtures (dB)."),
    "snr_high": _number("Highest SNR of mixtures (dB)."),
    "data_jobs": _whole(
        "Workers that check and resample files; null: one for each CPU.",
        low=1,
        optional=True,
        may_change=True,
    ),
    "corpus_on_device": Key(
        SWITCH_OR_AUTO,
        "Whether the training data is decoded once into the memory of the "
        "device, and cropped, mixed and augmented there; auto: on a GPU, if "
        "it takes at most a quarter of the free memory.",
        may_change=True,
    ),
    "prepare_data": _required("Writes the manifests of the data."),
    "make_datasets": _required("Makes data sets of the manifests."),
    # Training
    "number_of_epochs": _whole(
        "Length of the training.", low=1, may_change=True
    ),
    "validate_every": _whole(
        "Epochs from one validation, which keeps a checkpoint, to the next.",
        low=1,
        required=True,
        may_change=True,
    ),
    "batch_size": _whole("Utterances in a batch.", low=1, required=True),
    "crop_seconds": _number(
        "Length of the crops to train on (s); null: whole utterances.",
        low=0,
        optional=True,
    ),
    "remix_probability": _share(
        "Share of the batches that are remixed; 0: as recorded."
    ),
    "remix_snr_low": _number("Lowest SNR of remixed utterances (dB)."),
    "remix_snr_high": _number("Highest SNR of remixed utterances (dB)."),
    "second_noise_probability": _remix_share(
        "Share of remixed utterances with a second noise, 0 to 12 dB below "
        "the first."
    ),
    "clean_probability": _remix_share(
        "Share of remixed utterances without noise: clean speech must stay as "
        "it is."
    ),
    "speed_probability": _remix_share(
        "Share of remixed utterances, and of noises, that are played faster "
        "or slower."
    ),
    "coloration_probability": _remix_share(
        "Share of remixed utterances, and of noises, with the timbre of "
        "another voice or microphone."
    ),
    "coloration_spread": _number(
        "Standard deviation of the levels that coloration gives to octaves "
        "(dB); null: 4.",
        low=0,
        optional=True,
    ),
    "reverberation_probability": _remix_share(
        "Share of remixed utterances in a room, which the target keeps."
    ),
    "pause_probability": _remix_share(
        "Share of remixed utterances with noise alone before and after speech."
    ),
    "hiss_probability": _remix_share(
        "Share of noises that are replaced by coloured noise."
    ),
    "vocal_tract_probability": _remix_share(
        "Share of remixed utterances whose formants move: other vocal tracts."
    ),
    "synthetic_noise_probability": _remix_share(
        "Share of noises that are replaced by computed ones: wind, engines, "
        "steps, alarms, music and others."
    ),
    "babble_probability": _remix_share(
        "Share of remixed utterances whose noise is replaced by the other "
        "voices of the batch."
    ),
    "clipping_probability": _remix_share(
        "Share of remixed utterances whose peaks are cut off."
    ),
    "codec_probability": _remix_share(
        "Share of remixed utterances that pass a telephone or a lossy codec."
    ),
    "level_change_probability": _remix_share(
        "Share of remixed utterances, and of noises, whose level changes: a "
        "far voice after a near one, noise that begins and ends."
    ),
    "augmentation": _required(
        "Changes batches before training.", optional=True
    ),
    "num_workers": _whole(
        "Processes that load and augment where the corpus is not on the "
        "device.",
        low=0,
        required=True,
        may_change=True,
    ),
    "lr": _number("Highest learning rate.", low=0),
    "warmup_steps": _whole(
        "Steps over which the learning rate rises to lr.", low=0
    ),
    "lr_final_share": _share("Share of lr that the decay ends at."),
    "average_decay": _share(
        "Decay of the weights' running average, which is what is tested; 0: "
        "the newest weights.",
        required=True,
    ),
    "max_grad_norm": _number(
        "Norm that gradients are clipped to; 0: no clipping."
    ),
    "precision": _text(
        "fp32, bf16, fp16 or auto: bf16 where the device computes it, else "
        "fp32.",
        may_change=True,
    ),
    "sync_batch_norm": _switch(
        "Whether batch norms of several processes share statistics.", read=True
    ),
    "activation_memory_budget": _share(
        "Share of the activations that --compile keeps for the backward pass.",
        required=True,
        may_change=True,
    ),
    "ckpt_interval_minutes": _number(
        "Minutes between checkpoints within an epoch; 0: none.",
        may_change=True,
    ),
    "use_tensorboard": _switch(
        "Logs for TensorBoard, too.", required=True, may_change=True
    ),
    "opt_class": _required("The optimizer."),
    "lr_schedule": _required("Sets the learning rate before each step."),
    "epoch_counter": _required("Counts the epochs."),
    "checkpointer": _required("Saves and loads checkpoints."),
    "train_logger": _required("Writes train_log."),
    # Scores
    "valid_batch_seconds": _number(
        "Length of the batches of validation and test (s); null: 40 on a GPU, "
        "single files on a CPU.",
        low=0,
        optional=True,
        required=True,
        may_change=True,
    ),
    "metrics": Key(
        LIST,
        "What validation and test measure.",
        required=True,
        may_change=True,
    ),
    "metric_jobs": _whole(
        "Processes that measure; null: one for each CPU.",
        low=1,
        optional=True,
        required=True,
        may_change=True,
    ),
    "metric_timeout": _number(
        "Time that a measurement of an utterance may take (s).",
        low=0.001,
        required=True,
        may_change=True,
    ),
    "pictured_utterances": _whole(
        "Test utterances in spectrograms.png.",
        low=0,
        required=True,
        may_change=True,
    ),
    # Front end
    "win_length": _number("Length of the window (ms).", low=0.001),
    "hop_length": _number("Time from one frame to the next (ms).", low=0.001),
    "n_fft": _whole("Points of the Fourier transform.", low=1),
    "window": Key(OBJECT, "Makes the window."),
    "compute_stft": _required("Transforms waveforms to spectrograms."),
    "compute_istft": Key(OBJECT, "Transforms spectrograms to waveforms."),
    # Network
    "phase_input": _text(
        "What the phase stream sees: the complex spectrogram, or its unit "
        "phase."
    ),
    "mask_activation": _text(
        "Limits the mask: sigmoid to 1, softplus not at all."
    ),
    "initialization": _text(
        "identity: the untrained network nearly passes its input; steady: so "
        "it does, and its attention is nearly constant; or default."
    ),
    "input_power": _number(
        "Magnitudes are raised to it before the network sees them.", low=0
    ),
    "input_share": _share(
        "Share of the noisy spectrogram that is left in the output."
    ),
    "filter_kernel": Key(
        LIST,
        "Frames and bins, such as [3, 3], of a complex filter over the "
        "neighbours of each bin.",
        optional=True,
    ),
    "band_bins": _whole(
        "Bins of a band, such as 4: recurrence over time in each band and "
        "over bands in each frame, in place of one layer over all bins.",
        low=1,
        optional=True,
    ),
    "frequency_transform": _switch(
        "Whether there are frequency transformation blocks."
    ),
    "amplitude_to_phase": _switch(
        "Whether the amplitude stream informs the phase stream."
    ),
    "phase_to_amplitude": _switch(
        "Whether the phase stream informs the amplitude stream."
    ),
    "two_streams": _switch("Whether there is a phase stream."),
    "lookahead_frames": _whole(
        "Frames after the one that is enhanced which a causal network sees.",
        low=0,
    ),
    "network": Key(OBJECT, "Maps noisy spectrograms to enhanced ones."),
    "normalize": Key(
        SWITCH_OR_RUNNING,
        "Brings each utterance to one level for the network, and back; "
        "running: each frame, by the level so far.",
        required=True,
    ),
    "enhancer": _required("Maps noisy waveforms to enhanced ones."),
    "modules": _required("What is trained: the enhancer."),
    # Networks of the baselines
    "base_channels": _whole("Channels of CNNTransformerSE.", low=1),
    "channel_counts": Key(LIST, "Channels of EnhanceResnet's blocks."),
    "dense_nodes": _whole("Width of EnhanceResnet's dense layers.", low=1),
    "encoder_channels": _whole("Channels of SepFormer's encoder.", low=1),
    "layers": _whole("Layers of SepFormer's transformers.", low=1),
    # Loss
    "power": _number("Exponent that compresses magnitudes in the loss.", low=0),
    "compression": _text(
        "Whose magnitudes compress the enhanced spectrogram: its own, or the "
        "target's."
    ),
    "loss_scale": Key(
        NUMBER_OR_TRUE,
        "Multiplies the loss; True: by twice the number of frequency bins.",
        low=0,
    ),
    "pesq_weight": _number("Weight of PESQ in the loss.", low=0),
    "si_snr_weight": _number("Weight of SI-SNR in the loss.", low=0),
    "envelope_weight": _number(
        "Weight of the log-spectral distance in the loss.", low=0
    ),
    "compute_cost": _required("The loss."),
}

#: Keys that earlier versions had, and the value that is left of them: what
#: sets them to it loads as before.
REMOVED = {"phase_lr_scale": 1.0}


def keys_with(flag: str) -> set[str]:
    """The keys that have a flag of :class:`Key` set.

    Example
    -------
    >>> sorted(keys_with("data"))
    ['clean_folder', 'data_folder', 'noise_folder', 'noisy_folder']
    """
    return {name for name, key in KEYS.items() if getattr(key, flag)}


def describe_limits(key: Key) -> str:
    """What the value may be, in words."""
    limits = ""
    if math.isfinite(key.high):
        limits = f" from {key.low} to {key.high}"
    elif math.isfinite(key.low):
        limits = f", at least {key.low}"
    return f"{key.kind}{limits}{', or null' if key.optional else ''}"


def to_markdown() -> str:
    """The table of all keys, for ``docs/recipe_keys.md``."""
    rows = [("key", "value", "on resuming", "effect"), ["---"] * 4]
    for name, key in KEYS.items():
        resuming = "may change" if key.may_change else ""
        rows.append((f"`{name}`", describe_limits(key), resuming, key.effect))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
