#!/usr/bin/env python3
"""Enhances a WAV file with onnxruntime and NumPy alone.

    phasen export results/phasen/1234 my_model --onnx
    python examples/enhance_onnx.py my_model/model.onnx noisy.wav clean.wav

The graph maps the noisy spectrogram [batch, frames, bins, 2] to the enhanced
one; what surrounds it is here. That of a causal model maps a few samples and
its state to as many enhanced ones and its next state. Takes 16-bit mono at the
model's sample rate.
"""

import json
import sys
import wave

import numpy as np
import onnxruntime


def frames_of(signal, window, hop, n_fft):
    """STFT with frames centred at multiples of the hop: [frames, bins]."""
    signal = np.pad(signal, n_fft // 2)
    count = (len(signal) - n_fft) // hop + 1
    index = np.arange(n_fft) + hop * np.arange(count)[:, None]
    return np.fft.rfft(signal[index] * window)


def overlap_add(spectrum, window, hop, n_fft, samples):
    """Inverse of frames_of."""
    frames = np.fft.irfft(spectrum, n_fft) * window
    signal = np.zeros(n_fft + hop * (len(frames) - 1))
    weight = np.zeros_like(signal)
    for i, frame in enumerate(frames):
        signal[i * hop : i * hop + n_fft] += frame
        weight[i * hop : i * hop + n_fft] += window**2
    signal = signal / np.maximum(weight, 1e-8)
    return np.pad(signal[n_fft // 2 :], (0, n_fft))[:samples]


def enhance(session, signal):
    """Enhances float samples [samples]."""
    meta = session.get_modelmeta().custom_metadata_map
    hop, n_fft = int(meta["hop_length"]), int(meta["n_fft"])
    window = np.array(json.loads(meta["window"]))
    left = (n_fft - len(window)) // 2  # A short window sits in the middle.
    window = np.pad(window, (left, n_fft - len(window) - left))
    level = 1.0
    if json.loads(meta["normalize"]):
        level = max(np.sqrt(np.mean(signal**2)), 1e-8)
    spectrum = frames_of(signal / level, window, hop, n_fft)
    noisy = np.stack([spectrum.real, spectrum.imag], axis=-1)[None]
    enhanced = session.run(None, {"noisy": noisy.astype(np.float32)})[0][0]
    spectrum = enhanced[..., 0] + 1j * enhanced[..., 1]
    return level * overlap_add(spectrum, window, hop, n_fft, len(signal))


def enhance_live(session, signal):
    """Enhances float samples [samples] as they would come live, in hops."""
    meta = session.get_modelmeta().custom_metadata_map
    hop, delay = int(meta["hop_length"]), int(meta["delay"])
    state = np.zeros(int(meta["state_length"]), np.float32)
    # What comes out is late: silence brings out the end.
    padded = np.pad(signal, (0, delay + hop)).astype(np.float32)
    hops = []
    for noisy in padded[: len(padded) // hop * hop].reshape(-1, hop):
        enhanced, state = session.run(None, {"noisy": noisy, "state": state})
        hops.append(enhanced)
    return np.concatenate(hops)[delay : delay + len(signal)]


if __name__ == "__main__":
    model, source, target = sys.argv[1:]
    session = onnxruntime.InferenceSession(model)
    meta = session.get_modelmeta().custom_metadata_map
    if meta.get("center") == "false":
        sys.exit("This example computes centred frames only.")
    with wave.open(source) as file:
        facts = (file.getnchannels(), file.getsampwidth(), file.getframerate())
        if facts != (1, 2, int(meta["sample_rate"])):
            sys.exit(f"{source} is not 16-bit mono, {meta['sample_rate']} Hz.")
        noisy = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    live = "state_length" in meta
    clean = (enhance_live if live else enhance)(session, noisy / 32768)
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, facts[2], 0, "NONE", None))
        clean = np.rint(clean * 32768).clip(-32768, 32767)
        file.writeframes(clean.astype("<i2").tobytes())
