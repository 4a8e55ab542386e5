"""The model card: README.md of an exported model."""

import io
from pathlib import Path

from ruamel.yaml import YAML

from phasen_sb import __version__
from phasen_sb.losses.objective import METRIC_LOSSES
from phasen_sb.models.stored import TrainedModel

SCORES = {
    "pesq_wb": "PESQ (wideband)",
    "pesq_nb": "PESQ (narrowband)",
    "stoi": "STOI",
    "estoi": "ESTOI",
    "si_sdr": "SI-SDR (dB)",
    "csig": "CSIG",
    "cbak": "CBAK",
    "covl": "COVL",
    "ssnr": "segmental SNR (dB)",
}

ROUNDED = "\n\nThe scores are those of the weights before rounding to fp16."

TEXT = """\
# {name}

Removes noise from speech. [PHASEN](https://arxiv.org/abs/1911.04697), a
two-stream network that estimates magnitude and phase, trained with phasen_sb
{version} and SpeechBrain.

## Use

```bash
phasen enhance noisy.wav --model {name}
```

```python
from phasen_sb import Enhancer

enhancer = Enhancer.from_pretrained("{name}")
enhancer.enhance_file("noisy.wav", "enhanced.wav")
```

SpeechBrain's own class loads it too, where phasen_sb is installed:

```python
from speechbrain.inference.enhancement import WaveformEnhancement

enhancer = WaveformEnhancement.from_hparams(source="{name}")
```

## Scores

{scores}

## Training data

{data}

## Limits

* Works at {sample_rate} Hz. What lies above {band:g} kHz in other files is only
  turned up and down with the octave below it.
* Not causal: it sees the whole recording, so it is no filter for live sound.
* Made for one voice in noise. Music, other voices and reverberation were not
  what it was trained to keep or to remove.
* Speech unlike its training data (language, age, microphone, noise) may come
  out worse than it went in: listen before you rely on it.

## Licence

{licence} for the weights. The recordings they were trained on have licences
of their own, which may ask for attribution.
"""


def write_card(
    model: TrainedModel,
    name: str,
    licence: str = "apache-2.0",
    half: bool = False,
) -> str:
    """Writes the model card of an exported model.

    Arguments
    ---------
    model : TrainedModel
        What is exported.
    name : str
        Name of the model.
    licence : str
        Licence of the weights, as a hub identifier.
    half : bool
        Whether the weights are written as fp16.

    Returns
    -------
    str
        Markdown with YAML front matter.

    Example
    -------
    >>> model = TrainedModel({}, 16000, {}, "results/phasen/1234")
    >>> print(write_card(model, "my_model"))
    ---
    license: apache-2.0
    ...
    """
    front = io.StringIO()
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(_front_matter(model, name, licence), front)
    text = TEXT.format(
        name=name,
        version=__version__,
        scores=_score_table(model.results) + ROUNDED * half,
        data=_data(model),
        sample_rate=model.sample_rate,
        band=model.sample_rate / 2000,
        licence=licence,
    )
    return f"---\n{front.getvalue()}---\n{text}"


def _front_matter(model, name, licence):
    front = {
        "license": licence,
        "library_name": "speechbrain",
        "pipeline_tag": "audio-to-audio",
        "tags": ["speech-enhancement", "phasen", "speechbrain", "audio"],
    }
    scores = model.results.get("test", {}).get("enhanced", {})
    known = [key for key in SCORES if isinstance(scores.get(key), float)]
    if known:
        front["model-index"] = [
            {
                "name": name,
                "results": [
                    {
                        "task": {
                            "type": "audio-to-audio",
                            "name": "Speech Enhancement",
                        },
                        "dataset": {
                            "name": _data_name(model),
                            "type": model.data.get("source", "custom"),
                            "split": "test",
                        },
                        "metrics": [
                            {
                                "type": key,
                                "name": SCORES[key],
                                "value": round(scores[key], 4),
                            }
                            for key in known
                        ],
                    }
                ],
            }
        ]
    return front


def _score_table(results):
    parts = []
    for split, title in (("test", "Test"), ("valid", "Validation")):
        scores = results.get(split, {})
        enhanced = scores.get("enhanced", {})
        noisy = scores.get("noisy", {})
        rows = [
            f"| {SCORES[key]} | {_number(noisy.get(key))} "
            f"| {_number(enhanced[key])} |"
            for key in SCORES
            if isinstance(enhanced.get(key), float)
        ]
        if not rows:
            continue
        count = enhanced.get("utterances")
        title += f" set, {count} utterances" if count else " set"
        head = [f"| {title} | noisy | enhanced |", "|---|---|---|"]
        parts.append("\n".join(head + rows))
    if not parts:
        return "None were measured."
    notes = []
    if results.get("epoch") is not None:
        notes.append(
            f"Weights of epoch {results['epoch']}, chosen by the validation "
            "set's PESQ."
        )
    versions = results.get("versions", {})
    if versions.get("pesq"):
        notes.append(
            f"Measured with pesq {versions['pesq']} and pystoi "
            f"{versions.get('pystoi')}."
        )
    if results.get("commit"):
        notes.append(f"Code: {results['commit']}.")
    for loss in results.get("losses") or []:
        if loss in METRIC_LOSSES:
            aim = METRIC_LOSSES[loss].removesuffix(" loss")
            notes.append(
                f"Metric-optimised: {aim} had a share in the loss, so that "
                f"{aim} and measures made of it say less than the others."
            )
    return "\n\n".join([*parts, " ".join(notes)]).rstrip()


def _number(value):
    return f"{value:.3f}" if isinstance(value, float) else ""


def _data_name(model):
    # Folder names alone: the card is published, paths are private.
    for key in ("data_folder", "noisy_folder", "clean_folder"):
        folder = model.settings.get(key)
        if folder:
            return str(folder).rstrip("/").rsplit("/", 1)[-1]
    return "phasen_sb sample corpus" if model.settings else "unknown"


def _data(model):
    if not model.settings:
        return f"Unknown: converted from {model.source.rsplit('/', 1)[-1]}."
    lines = [f"{_data_name(model)}."]
    if model.settings.get("init_from"):
        source = str(model.settings["init_from"]).rstrip("/").rsplit("/", 1)[-1]
        lines.append(f"The training started from the weights of {source}.")
    for kind in ("clean", "noise"):
        if extra := model.settings.get(f"extra_{kind}_folder"):
            kind = "clean speech" if kind == "clean" else kind
            lines.append(f"Further {kind} to train on: {Path(extra).name}.")
    for split, facts in model.data.get("splits", {}).items():
        lines.append(
            f"{split}: {facts['files']} files, {facts['seconds'] / 60:.1f} min."
        )
    if not any(
        model.settings.get(key)
        for key in ("data_folder", "noisy_folder", "clean_folder")
    ):
        lines.append(
            "That is a demonstration corpus: the model shows that everything "
            "works, not how well PHASEN can sound."
        )
    return "\n".join(lines)
