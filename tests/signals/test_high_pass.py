"""High-pass filters equal SciPy's, in Python as in SciPy."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from phasen_sb.signals import high_pass
from phasen_sb.signals.high_pass import HighPass, design_high_pass


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 48000])
def test_design_is_scipys(order, rate):
    for frequency in (20, 80, rate / 4):
        sections = butter(order, frequency, "highpass", fs=rate, output="sos")
        ours = design_high_pass(order, frequency, rate)
        np.testing.assert_allclose(ours, sections, rtol=0, atol=1e-15)


def test_python_goes_on_in_scipy(monkeypatch):
    """The first block is filtered in Python, and SciPy takes its state."""
    monkeypatch.setattr(high_pass, "sys", SimpleNamespace(modules={}))
    monkeypatch.setattr(high_pass, "_in_python", 0)
    monkeypatch.setattr(high_pass, "_MOST_IN_PYTHON", 2 * 3 * 1000)
    noise = np.random.default_rng(0).standard_normal((1700, 3))
    filter_ = HighPass(4, 80, 16000, channels=3)
    first = filter_.filter(noise[:1000])
    assert high_pass._in_python == 6000
    second = filter_.filter(noise[1000:])
    assert high_pass._in_python == 6000
    expected = sosfilt(filter_.sections, noise, 0)
    # But for multiplying and adding at once, where SciPy was compiled so.
    np.testing.assert_allclose([*first, *second], expected, rtol=0, atol=1e-12)
