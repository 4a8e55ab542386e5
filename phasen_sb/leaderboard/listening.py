"""Clips of the runs' test files, small enough to be embedded in a page."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import soundfile as sf

from phasen_sb.errors import UserError
from phasen_sb.leaderboard.recordings import Recording
from phasen_sb.leaderboard.runs import Run
from phasen_sb.metrics.registry import METRICS
from phasen_sb.signals.decibels import spectrogram_decibels

# Files are chosen by this score, or the first there is.
_PREFERRED = "pesq_wb"

_PEAK = 0.99
_DYNAMIC_RANGE_DB = 80
_MOST_COLUMNS = 420
_BYTES_PER_MB = 1_000_000


@dataclass
class Clip:
    """One version of an utterance as the page embeds it."""

    title: str  # which version it is
    scores: dict[str, float]  # by metric
    audio: str  # FLAC as a data URI
    spectrogram: str  # PNG as a data URI

    @property
    def size(self) -> int:
        """Characters that it adds to the page."""
        return len(self.audio) + len(self.spectrogram)


@dataclass
class Utterance:
    """Versions of one utterance to compare: noisy, of each run, clean."""

    name: str
    seconds: float
    kilohertz: float  # upper end of the spectrograms
    clips: list[Clip] = field(default_factory=list)


def choose_files(runs: Sequence[Run], count: int = 3) -> list[str]:
    """Chooses files that show the range: worst, median and best of a run.

    The first of the runs that can be listened to is judged by wide-band PESQ.
    At most ``count`` names are returned, the worst first.
    """
    for run in runs:
        ranked = _rank_files(run.per_file) if run.audio else []
        if ranked:
            places = np.linspace(0, len(ranked) - 1, min(count, len(ranked)))
            return [ranked[round(place)] for place in places]
    return []


def _rank_files(per_file: dict[str, dict[str, float]]) -> list[str]:
    metrics = [m for scores in per_file.values() for m in scores]
    if not metrics:
        return []
    metric = _PREFERRED if _PREFERRED in metrics else metrics[0]
    scored = [name for name in per_file if metric in per_file[name]]
    return sorted(scored, key=lambda name: per_file[name][metric])


def embed_files(
    runs: Sequence[Run], names: Iterable[str], budget_mb: float
) -> tuple[list[Utterance], list[str]]:
    """Encodes files of the runs, side by side where they share them.

    ``budget_mb`` is the size of all clips together (MB); what no longer fits
    is left out. Returned are an utterance for each name, or several if it
    names different recordings, and notes on what was left out and why, one
    sentence each.

    Raises a :class:`phasen_sb.errors.UserError` if no run scored a file of one
    of the names.
    """
    utterances: list[Utterance] = []
    notes: list[str] = []
    left = budget_mb * _BYTES_PER_MB
    for name in names:
        having = [run for run in runs if name in run.per_file]
        if not having:
            known = next((", ".join(list(r.per_file)[:3]) for r in runs), "")
            raise UserError(
                f"No run scored a file called {name}; --listen takes names "
                f"such as {known}."
            )
        for group in _group_runs(having, name, notes):
            utterance = _embed(name, group)
            size = sum(clip.size for clip in utterance.clips)
            if size > left:
                notes.append(
                    f"{name} is not on the page: with it the recordings would "
                    f"exceed {budget_mb:g} MB; raise --audio-budget, or choose "
                    "fewer or shorter files with --listen."
                )
                continue
            left -= size
            utterances.append(utterance)
    return utterances, notes


def _group_runs(
    runs: Iterable[Run], name: str, notes: list[str]
) -> list[list[tuple[Run, Recording]]]:
    """Groups runs by recording: several corpora use the same file names."""
    groups: list[list[tuple[Run, Recording]]] = []
    for run in runs:
        if run.audio is None:
            notes.append(
                f"{run.entry.system} cannot be listened to: its {name} was "
                "scored without --noisy."
            )
            continue
        try:
            recording = run.audio.load(name)
        except UserError as error:
            notes.append(f"{run.entry.system}: {error}")
            continue
        for group in groups:
            if _is_same_recording(group[0][1], recording):
                group.append((run, recording))
                break
        else:
            groups.append([(run, recording)])
    return groups


def _is_same_recording(one: Recording, other: Recording) -> bool:
    length = min(one.clean.size, other.clean.size)
    return abs(one.clean.size - other.clean.size) < one.sample_rate / 10 and (
        np.allclose(one.clean[:length], other.clean[:length], atol=1e-3)
        and np.allclose(one.noisy[:length], other.noisy[:length], atol=1e-3)
    )


def _embed(name: str, group: list[tuple[Run, Recording]]) -> Utterance:
    first_run, first = group[0]
    versions = [("noisy", first_run.noisy_per_file.get(name, {}), first.noisy)]
    versions += [
        (run.entry.system, run.per_file[name], recording.enhanced)
        for run, recording in group
    ]
    versions.append(("clean", {}, first.clean))
    waves = [wave for _, _, wave in versions]
    # One gain and one scale of colours for all, so that they compare.
    peak = max(float(np.abs(wave).max(initial=0)) for wave in waves)
    gain = min(1.0, _PEAK / peak) if peak else 1.0
    levels = [_measure_level(wave, first.sample_rate) for wave in waves]
    top = max(float(level.max()) for level in levels)
    return Utterance(
        name,
        first.clean.size / first.sample_rate,
        first.sample_rate / 2000,
        [
            Clip(
                title,
                {m: s for m, s in scores.items() if m in METRICS},
                encode_audio(wave * gain, first.sample_rate),
                _draw_level(level, top),
            )
            for (title, scores, wave), level in zip(
                versions, levels, strict=True
            )
        ],
    )


def encode_audio(wave: np.ndarray, sample_rate: int) -> str:
    """Encodes samples as a FLAC data URI: lossless, and browsers play it.

    ``wave`` is ``[time]``, in [-1, 1]; the rate is in Hz.
    """
    encoded = io.BytesIO()
    sf.write(encoded, wave, sample_rate, format="FLAC", subtype="PCM_16")
    return _make_data_uri("audio/flac", encoded.getvalue())


def _measure_level(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    hop = max(round(0.00625 * sample_rate), wave.size // _MOST_COLUMNS)
    # A long file is sampled, not averaged: gaps between windows are fine in
    # a picture this small.
    return spectrogram_decibels(wave, sample_rate, hop)


def _draw_level(decibels: np.ndarray, top: float) -> str:
    # Slow to import; a page without recordings needs neither.
    from matplotlib import colormaps
    from PIL import Image

    bottom = top - _DYNAMIC_RANGE_DB
    shade = np.clip((decibels - bottom) / _DYNAMIC_RANGE_DB, 0, 1)
    # With a palette, a third of the size of RGB.
    image = Image.fromarray((shade[::-1] * 255).astype(np.uint8))
    palette = colormaps["magma"](np.arange(256), bytes=True)[:, :3]
    image.putpalette(palette.tobytes())
    encoded = io.BytesIO()
    image.save(encoded, "PNG", optimize=True)
    return _make_data_uri("image/png", encoded.getvalue())


def _make_data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
