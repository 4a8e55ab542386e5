"""Commands import no more than they need, and so start quickly."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf

from phasen_sb.cli import main
from phasen_sb.errors import UserError
from phasen_sb.metrics import pesq

HEAVY = {
    *("huggingface_hub", "matplotlib", "pandas", "pesq", "requests", "scipy"),
    *("speechbrain", "sympy", "torch._dynamo", "torch._inductor"),
    *("torchaudio", "transformers", "triton"),
}


def run(*arguments):
    """Runs ``phasen`` without the package pesq; returns what it imported."""
    code = (
        "import sys; from phasen_sb.cli import main\n"
        "sys.modules['pesq'] = None\n"
        f"try: status = main({list(map(str, arguments))})\n"
        "except SystemExit as error: status = error.code\n"
        "print(*(name for name, module in sys.modules.items() if module))\n"
        "sys.exit(status)"
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


def test_scores_without_pesq(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pesq", None)
    wave = np.random.default_rng(0).standard_normal(16000)
    for name in ("clean.wav", "noisy.wav"):
        sf.write(tmp_path / name, wave / 10, 16000)
    words = ["score", "--clean", "clean.wav", "--enhanced", "noisy.wav"]
    monkeypatch.chdir(tmp_path)
    assert main(words + ["--out", "scores"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("To measure pesq_wb, pesq_nb, csig, ")
    assert 'pip install "pesq"' in error and error.count("\n") == 1
    assert not (tmp_path / "scores").exists()
    assert main(words + ["--out", "scores", "--metrics", "si_sdr"]) == 0
    assert (tmp_path / "scores" / "scores.json").exists()
    with pytest.raises(UserError, match="pip install pesq"):
        pesq(wave, wave)
