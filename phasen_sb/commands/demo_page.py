"""The page of ``phasen demo``; needs the extra ``demo`` (Gradio)."""

import os
import tempfile
from pathlib import Path

import gradio as gr
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from phasen_sb.audio.media import MediaFile
from phasen_sb.audio.reading import open_audio, read_blocks, read_samples
from phasen_sb.errors import UserError
from phasen_sb.inference.model_rate import resample
from phasen_sb.inference.sample_reader import replace_non_finite
from phasen_sb.inference.speechbrain_enhancer import Enhancer
from phasen_sb.signals.decibels import spectrogram_decibels
from phasen_sb.utils.figures import new_figure

#: Seconds that the pictures show, from the start of the recording.
PICTURED_SECONDS = 20

#: Of an upload.
MOST_SECONDS = 1800

INTRODUCTION = """\
# PHASEN speech enhancement
Model: **{model}** ({weights:.2g} million weights, {rate} Hz) on {device}.
Everything stays on this machine.
"""


def make_page(enhancer: Enhancer) -> gr.Blocks:
    """Builds the page on which an enhancer can be tried out."""
    folder = tempfile.TemporaryDirectory(prefix="phasen-demo-")
    # Uploads lie in it, too, and go with it.
    os.environ["GRADIO_TEMP_DIR"] = folder.name

    def enhance(source, strength):
        if source is None:
            raise gr.Error("Upload or record something first.")
        target = Path(tempfile.mkdtemp(dir=folder.name)) / "enhanced.wav"
        try:
            check_upload(Path(source), Path(folder.name))
            result = enhancer.enhance_file(
                source, target, strength, format="wav:PCM_16", normalize=True
            )
        except UserError as error:
            # Its own message would name a file of the server.
            message = str(error).replace(str(Path(source).parent), "")
            raise gr.Error(message) from error
        notes = [
            f"{result.seconds:.1f} s enhanced in {result.elapsed:.1f} s "
            f"(real-time factor {result.elapsed / result.seconds:.2f})."
        ]
        if result.non_finite:
            notes.append(f"{result.non_finite} bad samples became silence.")
        if result.gain != 1:
            notes.append("Scaled down to fit full scale.")
        picture = draw(enhancer, source, target)
        return str(target), picture, " ".join(notes)

    with gr.Blocks(title="PHASEN", analytics_enabled=False) as page:
        # Lives as long as the page, and is removed with all recordings.
        page.phasen_folder = folder
        weights = sum(p.numel() for p in enhancer.mods.parameters())
        gr.Markdown(
            INTRODUCTION.format(
                model=enhancer.source,
                weights=weights / 1e6,
                rate=enhancer.sample_rate,
                device=str(enhancer.device).upper(),
            )
        )
        with gr.Row():
            source = gr.Audio(
                sources=["upload", "microphone"],
                type="filepath",
                label="Noisy: upload or record",
                buttons=["download"],
                elem_id="noisy",
            )
            enhanced = gr.Audio(
                label="Enhanced",
                interactive=False,
                buttons=["download"],
                elem_id="enhanced",
            )
        with gr.Row(equal_height=True):
            strength = gr.Slider(
                0,
                1,
                1,
                step=0.05,
                label="Strength: 0 noisy, 1 enhanced",
                elem_id="strength",
            )
            button = gr.Button("Enhance", variant="primary", elem_id="run")
        notes = gr.Markdown(elem_id="notes")
        picture = gr.Image(
            label=f"Spectrograms and mask, first {PICTURED_SECONDS} s",
            show_label=False,
            interactive=False,
            buttons=["download", "fullscreen"],
            elem_id="picture",
        )
        for event in (button.click, strength.release):
            event(enhance, [source, strength], [enhanced, picture, notes])
    return page


def check_upload(source: Path, folder: Path) -> None:
    """Raises UserError if a recording was not uploaded, or is too long.

    Uploads lie in ``folder``; no other file of this machine is read.
    """
    if folder.resolve() not in source.resolve().parents:
        raise UserError("That is not an upload; upload or record something.")
    with open_audio(source) as file:
        samples = file.frames
        if isinstance(file, MediaFile):
            # The length in its header may be missing or wrong.
            samples = 0
            for block in read_blocks(file):
                samples += len(block)
                if samples > MOST_SECONDS * file.samplerate:
                    break
        seconds = samples / file.samplerate
    if seconds > MOST_SECONDS:
        raise UserError(
            f"The recording has {seconds:.0f} s or more, the page takes "
            f"{MOST_SECONDS} s; use phasen enhance for longer ones."
        )


def draw(enhancer: Enhancer, noisy: str, enhanced: Path) -> np.ndarray:
    """Draws the first channels' spectrograms and the mask between them.

    Returns an RGBA picture ``[height, width, 4]``.
    """
    rate = enhancer.sample_rate
    before = _read_start(noisy, rate)
    after = _read_start(enhanced, rate)
    panels = {"noisy": spectrogram_decibels(before, rate)}
    if (mask := enhancer.mask(before)) is not None:
        panels["mask"] = mask.T
    panels["enhanced"] = spectrogram_decibels(after, rate)
    top = panels["noisy"].max()
    extent = (0, len(before) / rate, 0, rate / 2000)
    figure = new_figure(10, 2.2 * len(panels))
    axes = figure.subplots(len(panels), 1, sharex=True)
    for axis, (title, values) in zip(axes, panels.items(), strict=True):
        is_mask = title == "mask"
        image = axis.imshow(
            values,
            origin="lower",
            aspect="auto",
            extent=extent,
            cmap="viridis" if is_mask else "magma",
            vmin=0 if is_mask else top - 80,
            vmax=1 if is_mask else top,
        )
        axis.set_title(title)
        axis.set_ylabel("kHz")
        figure.colorbar(image, ax=axis, label="" if is_mask else "dB")
    axes[-1].set_xlabel("s")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def _read_start(path, rate):
    with open_audio(path) as file:
        block = read_samples(file, PICTURED_SECONDS * file.samplerate)
        block, _ = replace_non_finite(block[:, 0])
        return resample(block, file.samplerate, rate)
