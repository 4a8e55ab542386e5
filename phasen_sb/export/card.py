"""The model card: README.md of an exported model."""

from pathlib import PurePath

from huggingface_hub import EvalResult, ModelCardData

from phasen_sb.losses.objective import METRIC_LOSSES
from phasen_sb.metrics.registry import METRICS, USUAL_METRICS
from phasen_sb.models.loading import StoredModel
from phasen_sb.utils.tables import format_markdown_table
from phasen_sb.utils.version import VERSION

#: Settings that name the folder a training's data came from.
DATA_FOLDERS = ("data_folder", "noisy_folder", "clean_folder")

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
{causality}
* Made for one voice in noise. Music, other voices and reverberation were not
  what it was trained to keep or to remove.
* Speech unlike its training data (language, age, microphone, noise) may come
  out worse than it went in: listen before you rely on it.

## Licence

{licence} for the weights. The recordings they were trained on have licences
of their own, which may ask for attribution.
"""
NOT_CAUSAL = """\
* Not causal: it sees the whole recording, so it is no filter for live sound."""
CAUSAL = """\
* Causal: `phasen_sb.StreamingEnhancer` filters live sound, {latency:g} ms
  late, computing aside."""


def write_card(
    model: StoredModel,
    name: str,
    licence: str = "apache-2.0",
    half: bool = False,
    latency: float | None = None,
) -> str:
    """Writes the model card of an exported model.

    Returns Markdown with YAML front matter. ``licence`` is that of the weights,
    as a hub identifier; ``half`` tells that they are written as fp16;
    ``latency`` (ms) is that of a causal model.
    """
    causality = NOT_CAUSAL
    if latency is not None:
        causality = CAUSAL.format(latency=latency)
    text = TEXT.format(
        name=name,
        version=VERSION,
        scores=_score_table(model.results) + ROUNDED * half,
        data=_data(model),
        sample_rate=model.description.sample_rate,
        band=model.description.sample_rate / 2000,
        licence=licence,
        causality=causality,
    )
    return f"---\n{_metadata(model, name, licence).to_yaml()}\n---\n{text}"


def _metadata(model, name, licence):
    scores = model.results.get("test", {}).get("enhanced", {})
    results = [
        EvalResult(
            task_type="audio-to-audio",
            task_name="Speech Enhancement",
            dataset_name=_data_name(model),
            dataset_type=model.data.get("source", "custom"),
            dataset_split="test",
            metric_type=key,
            metric_name=METRICS[key].title,
            metric_value=round(scores[key], 4),
        )
        for key in USUAL_METRICS
        if isinstance(scores.get(key), float)
    ]
    return ModelCardData(
        license=licence,
        library_name="speechbrain",
        pipeline_tag="audio-to-audio",
        tags=["speech-enhancement", "phasen", "speechbrain", "audio"],
        **({"model_name": name, "eval_results": results} if results else {}),
    )


def _score_table(results):
    parts = []
    for split, title in (("test", "Test"), ("valid", "Validation")):
        scores = results.get(split, {})
        enhanced = scores.get("enhanced", {})
        noisy = scores.get("noisy", {})
        rows = [
            (
                METRICS[key].title,
                _number(noisy.get(key)),
                _number(enhanced[key]),
            )
            for key in USUAL_METRICS
            if isinstance(enhanced.get(key), float)
        ]
        if not rows:
            continue
        count = enhanced.get("utterances")
        title += f" set, {count} utterances" if count else " set"
        header = [title, "noisy", "enhanced"]
        align = ["left", "right", "right"]
        parts.append(format_markdown_table(header, rows, align))
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
    for key in DATA_FOLDERS:
        if folder := model.settings.get(key):
            return _last_part(folder)
    return "phasen_sb sample corpus" if model.settings else "unknown"


def _data(model):
    if not model.settings:
        return f"Unknown: converted from {_last_part(model.source)}."
    lines = [f"{_data_name(model)}."]
    if source := model.settings.get("init_from"):
        lines.append(
            f"The training started from the weights of {_last_part(source)}."
        )
    for kind, name in (("clean", "clean speech"), ("noise", "noise")):
        if extra := model.settings.get(f"extra_{kind}_folder"):
            lines.append(f"Further {name} to train on: {_last_part(extra)}.")
    for split, facts in model.data.get("splits", {}).items():
        lines.append(
            f"{split}: {facts['files']} files, {facts['seconds'] / 60:.1f} min."
        )
    if not any(map(model.settings.get, DATA_FOLDERS)):
        lines.append(
            "That is a demonstration corpus: the model shows that everything "
            "works, not how well PHASEN can sound."
        )
    return "\n".join(lines)


def _last_part(path):
    # The card is published, paths are private.
    return PurePath(path).name
