"""Commands import no more than they need, and so start quickly."""

import os
import subprocess
import sys

import numpy as np
import soundfile as sf

HEAVY = {
    *("huggingface_hub", "matplotlib", "pandas", "pesq"),
    *("requests", "scipy", "speechbrain", "sympy", "torch._dynamo"),
    *("torch._inductor", "torchaudio", "transformers", "triton"),
}


def run(*arguments):
    """Runs ``phasen``; returns the modules that it imported."""
    code = (
        "import sys; from phasen_sb.cli import main\n"
        f"try: status = main({list(map(str, arguments))})\n"
        "except SystemExit as error: status = error.code\n"
        "print(*sys.modules); sys.exit(status)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return set(process.stdout.split())


def test_enhance_imports_nothing_heavy(tmp_path):
    """At a rate other than the model's, which takes a filter more."""
    wave = np.random.default_rng(0).standard_normal(22050) / 10
    sf.write(tmp_path / "a.wav", wave, 22050)
    modules = run("enhance", tmp_path / "a.wav", "--device", "cpu")
    assert (tmp_path / "a.enhanced.wav").exists()
    assert "torch" in modules and not modules & HEAVY


def test_help_imports_no_pytorch():
    modules = run("enhance", "--help")
    assert "argparse" in modules and not modules & (HEAVY | {"torch", "numpy"})
