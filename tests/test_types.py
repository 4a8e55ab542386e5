"""Type checkers and editors see the types of the public names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")
ROOT = Path(__file__).parents[1]
SCRIPT = """
import numpy as np
import torch

from phasen_sb import (
    PHASEN,
    ConvISTFT,
    ConvSTFT,
    Enhancer,
    PhasenEnhancer,
    compressed_complex_loss,
)

stft, istft, network = ConvSTFT(16000), ConvISTFT(16000), PHASEN()
wave = torch.randn(2, 16000)
reveal_type(stft(wave))
reveal_type(istft(stft(wave)))
reveal_type(network(stft(wave)).spectrogram)
reveal_type(PhasenEnhancer(stft, istft, network)(wave))
reveal_type(compressed_complex_loss(stft(wave), stft(wave)))
reveal_type(Enhancer.from_pretrained())
reveal_type(Enhancer.from_pretrained().enhance(np.zeros(16000), 16000))
reveal_type(Enhancer.from_pretrained().enhance(wave, 16000, strength=0.5))
reveal_type(Enhancer.from_pretrained().enhance_file("noisy.wav").target)
"""


def test_a_users_script_is_checked_strictly(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    options = ["--strict", "--cache-dir", ROOT / ".mypy_cache"]
    result = subprocess.run(
        [sys.executable, "-m", "mypy", *options, script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    found = re.findall(r'Revealed type is "(.*)"', result.stdout)
    tensor = "torch._tensor.Tensor"
    assert [name.partition("ndarray")[0] for name in found] == [
        tensor,
        tensor,
        tensor,
        f"tuple[{tensor}, {tensor}]",
        tensor,
        "phasen_sb.inference.speechbrain_enhancer.Enhancer",
        "numpy.",
        tensor,
        "pathlib.Path",
    ]
