"""`phasen live`: removes noise from a microphone's sound as it comes."""

import argparse
import os
import sys
from contextlib import ExitStack, closing
from time import perf_counter

from phasen_sb.commands.model_options import add_model, add_strength
from phasen_sb.errors import UserError

DESCRIPTION = """\
Removes noise from speech while it is spoken: from a microphone to a loudspeaker
or to a virtual device that other programs record from; - is raw PCM (16-bit
little-endian, one channel) on stdin or stdout. Needs a causal model. Ctrl-C
ends it.
"""
#: The shipped model that is used where none is named.
LIVE_MODEL = "live"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--input",
        metavar="DEVICE",
        help="number or part of the name of a microphone, or - for stdin "
        "(default: the system's)",
    )
    parser.add_argument(
        "--output",
        metavar="DEVICE",
        help="number or part of the name of a loudspeaker or virtual device, "
        "or - for stdout (default: the system's)",
    )
    parser.add_argument(
        "--list", action="store_true", help="list the devices, and end"
    )
    add_model(parser, LIVE_MODEL)
    parser.add_argument(
        "--rate",
        type=int,
        metavar="HZ",
        help="sample rate of - and of devices (default: the model's, or a "
        "device's own if it does not take that)",
    )
    add_strength(parser)
    parser.add_argument(
        "--block",
        type=float,
        default=0.0,
        metavar="MS",
        help="compute so much at a time, in whole hops: longer blocks take "
        "less computing, and come later (default: one hop)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Enhances until Ctrl-C, or the end of stdin or stdout."""
    # Here, so that --help imports neither PyTorch nor PortAudio.
    from phasen_sb.commands.live_devices import (
        DeviceInput,
        DeviceLost,
        DeviceOutput,
        list_devices,
    )
    from phasen_sb.commands.live_pcm import PcmInput, PcmOutput

    if arguments.list:
        print(list_devices())
        return
    if arguments.rate is not None and arguments.rate < 1000:
        raise UserError(
            f"--rate is {arguments.rate}; it must be at least 1000 (Hz)."
        )
    if not 0 <= arguments.block <= 1000:
        raise UserError(
            f"--block is {arguments.block} ms; it must be from 0 to 1000."
        )
    stream, strength = _load(arguments)
    rate = arguments.rate or stream.sample_rate
    block = stream.block_samples / stream.sample_rate
    ends = []
    try:
        with ExitStack() as stack:

            def open_end(kind, *settings):
                ends.append(stack.enter_context(closing(kind(*settings))))

            if arguments.input == "-":
                open_end(PcmInput, rate)
            else:
                open_end(DeviceInput, arguments.input, rate)
            if arguments.output == "-":
                open_end(PcmOutput, rate)
            else:
                open_end(DeviceOutput, arguments.output, rate, block)
            _pass_on(stream, strength, *ends)
    except DeviceLost as error:
        sentence = error.explain()
        if any(end.is_stuck for end in ends):
            # PortAudio, too, would wait forever when the process ends.
            print(sentence, file=sys.stderr, flush=True)
            os._exit(1)
        raise sentence from error


def _load(arguments):
    """The model, and what share of it is mixed in."""
    import torch

    from phasen_sb.inference.attenuation import apply_limit
    from phasen_sb.inference.streaming import StreamingEnhancer
    from phasen_sb.models.enhancer import PhasenEnhancer

    name = arguments.model or LIVE_MODEL
    strength = apply_limit(arguments.strength, arguments.limit)
    torch.set_num_threads(1)
    model = PhasenEnhancer.from_pretrained(name, arguments.trust)
    hop, rate = model.stft.hop_length, model.stft.sample_rate
    hops = max(1, round(arguments.block * rate / 1000 / hop))
    return StreamingEnhancer(model, hops * hop), strength


def _pass_on(stream, strength, source, sink):
    """Passes sound on until it ends, or Ctrl-C ends it."""
    from phasen_sb.commands.live_meter import LiveMeter
    from phasen_sb.commands.live_reader import BlockReader
    from phasen_sb.inference.live import LiveEnhancer

    live = LiveEnhancer(stream, source.rate, sink.rate, strength)
    devices = source.latency + sink.latency
    meter = LiveMeter(live.latency + devices)
    meter.say(
        f"{source.name} ({source.rate} Hz) to {sink.name} ({sink.rate} Hz), "
        f"latency {meter.latency:.0f} ms: {stream.latency:.0f} of the model, "
        f"{live.latency - stream.latency:.0f} of blocks and resampling, "
        f"{devices:.0f} of the devices. Ctrl-C ends."
    )
    block = stream.block_samples * source.rate // stream.sample_rate
    with BlockReader(source, block) as reader:
        for samples in reader:
            started = perf_counter()
            out = live.process(samples)
            busy = perf_counter() - started
            sink.write(out)
            if not sink.is_open:
                break
            seconds = len(samples) / source.rate
            meter.add(samples, out, seconds, busy, reader.dropped)
        sink.write(live.flush())
    meter.finish(source.overflows, sink.underflows, source.note)
