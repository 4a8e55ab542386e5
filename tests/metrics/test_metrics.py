"""Known answers, and agreement with the programs published tables rest on."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from scipy.linalg import solve_toeplitz, toeplitz

from phasen_sb import metrics
from phasen_sb.data import sample_corpus
from phasen_sb.errors import UserError

RATE = 16000


def read_pair(name: str) -> tuple[np.ndarray, np.ndarray]:
    clean, noisy = (
        sf.read(sample_corpus() / f"{kind}_testset_wav_16k" / f"{name}.flac")[0]
        for kind in ("clean", "noisy")
    )
    return clean, noisy


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return read_pair("p232_003")[0]


@pytest.fixture(scope="module")
def noise(clean) -> np.ndarray:
    return np.random.default_rng(0).normal(size=clean.size) * 0.01


def test_clean_speech_against_itself_is_perfect(clean):
    names = set(metrics.METRICS) - {"snr", "si_sdr"}
    names = {n for n in names if metrics.METRICS[n].needs_reference}
    scores = dict(metrics.evaluate(clean, clean, RATE, names))
    assert scores.pop("pesq_wb") == pytest.approx(4.64, abs=0.01)
    assert scores.pop("pesq_nb") == pytest.approx(4.55, abs=0.01)
    # Frames of digital silence are clamped to -10 dB whatever the estimate.
    assert scores.pop("ssnr") == pytest.approx(35, abs=0.5)
    assert scores.pop("ssnr_rescaled") == pytest.approx(35, abs=0.5)
    assert scores == pytest.approx(
        dict.fromkeys(["llr", "wss", "wss_rescaled"], 0)
        | dict.fromkeys(["stoi", "estoi"], 1)
        | dict.fromkeys(["csig", "cbak", "covl"], 5)
        | dict.fromkeys(["csig_rescaled", "cbak_rescaled", "covl_rescaled"], 5),
        abs=1e-6,
    )


@pytest.mark.parametrize("decibels", [-20.0, 0.0, 33.3])
@pytest.mark.parametrize("scale", [0.2, -3.0])
def test_si_sdr_of_a_scaled_copy_plus_orthogonal_noise(
    clean, noise, decibels, scale
):
    noise = noise - clean * (noise @ clean) / (clean @ clean)
    noise *= np.sqrt(clean @ clean / (noise @ noise) / 10 ** (decibels / 10))
    assert metrics.si_sdr(clean, scale * (clean + noise)) == pytest.approx(
        decibels, abs=1e-9
    )


def test_snr_of_an_attenuated_copy(clean):
    assert metrics.snr(clean, 0.9 * clean) == pytest.approx(20)
    assert metrics.snr(clean, clean) == np.inf


def test_segmental_snr_of_frames_with_known_ratios(noise):
    # Every frame of an attenuated copy has the same ratio.
    assert metrics.segmental_snr(noise, 0.9 * noise) == pytest.approx(20)
    assert metrics.segmental_snr(noise, 0.999 * noise) == 35
    assert metrics.segmental_snr(noise, 11 * noise) == -10
    assert metrics.segmental_snr(noise, 0.9 * noise, rescale=True) == 35
    assert metrics.segmental_snr(noise, noise + 1, rescale=True) == 35
    assert metrics.segmental_snr(noise, noise + 1) == -10


def test_llr_equals_a_solution_of_the_normal_equations(clean, noise):
    estimate = clean + noise
    order, length, hop = 16, 480, 120
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, 481) / 481)
    distances = []
    for start in range(0, clean.size - length - hop + 1, hop):
        lags, filters = [], []
        for signal in (clean, estimate):
            frame = signal[start : start + length] * window
            full = np.correlate(frame, frame, "full")
            r = full[length - 1 : length + order]
            a = solve_toeplitz(r[:-1], -r[1:])
            lags.append(toeplitz(r))
            filters.append(np.array([1, *a]))
        ratio = (filters[1] @ lags[0] @ filters[1]) / (
            filters[0] @ lags[0] @ filters[0]
        )
        distances.append(np.log(ratio))
    distances = np.sort(distances)[: round(0.95 * len(distances))]
    assert metrics.llr(clean, estimate) == pytest.approx(distances.mean())


# Values computed on 2026-11-22 with
# * raw: compute_metrics.py of ruizhecao96/CMGAN @3994600, equal to that of
#   yxlu-0102/MP-SENet @89932cf in all these decimals;
# * rescaled: composite_eval.py of speechbrain/speechbrain @9c826ef,
#   recipes/Voicebank/MTL/ASR_enhance, on copies of the signals;
# from the sample corpus as it is, the noisy file multiplied by the gain.
PUBLISHED = [
    # file, gain, PESQ-wb, raw CSIG CBAK COVL SSNR, rescaled the same
    ("p232_002", 1.0, 1.0860, (2.8836, 2.2261, 2.0035, 2.6871))
    + ((2.6723, 2.0331, 1.8392, 2.2320),),
    ("p232_003", 1.0, 1.3830, (3.4243, 3.3387, 2.4571, 16.5700))
    + ((3.3745, 3.2548, 2.4184, 15.8524),),
    ("p232_003", 0.7, 1.3830, (3.4143, 2.7964, 2.4493, 8.0853))
    + ((3.3745, 3.2548, 2.4184, 15.8524),),
    ("p257_001", 1.0, 1.2856, (2.4370, 2.5287, 1.8995, 5.2095))
    + ((2.2036, 2.3527, 1.7179, 5.2979),),
    ("p257_002", 1.0, 1.6926, (3.3551, 3.0976, 2.5692, 10.8239))
    + ((3.1831, 2.9652, 2.4355, 10.8457),),
    ("p257_002", 0.7, 1.6926, (3.3522, 2.7750, 2.5670, 5.7389))
    + ((3.1831, 2.9652, 2.4355, 10.8457),),
]


@pytest.mark.parametrize(("name", "gain", "pesq", "raw", "rescaled"), PUBLISHED)
def test_agreement_with_published_programs(name, gain, pesq, raw, rescaled):
    clean, noisy = read_pair(name)
    noisy *= gain
    before = clean.copy(), noisy.copy()
    assert metrics.pesq(clean, noisy) == pytest.approx(pesq, abs=0.001)
    for family, expected in (("raw", raw), ("rescaled", rescaled)):
        ratings = metrics.composite(clean, noisy, family=family)
        assert ratings == pytest.approx(expected[:3], abs=0.005)
        ssnr = metrics.segmental_snr(clean, noisy, rescale=family == "rescaled")
        assert ssnr == pytest.approx(expected[3], abs=0.001)
    np.testing.assert_array_equal((clean, noisy), before)


@pytest.mark.parametrize(
    ("name", "rate", "expected"),
    # WSS of CMGAN's and of SpeechBrain's program; LLR of CMGAN's, equal to
    # that of schmiph2/pysepm @7ef88af (used_for_composite) in all decimals.
    # At 8000 Hz every second sample was taken.
    [
        ("p232_003", 16000, (0.042026, 5.570501, 0.488140)),
        ("p257_002", 16000, (3.909441, 23.020721, 0.702995)),
        ("p257_002", 8000, (1.117339, 21.387820, 0.312656)),
    ],
)
def test_spectral_distances_agree_with_published_programs(name, rate, expected):
    pair = [signal[:: RATE // rate] for signal in read_pair(name)]
    distances = (
        metrics.wss(*pair, rate),
        metrics.wss(*pair, rate, amplitude=1.0),
        metrics.llr(*pair, rate),
    )
    assert distances == pytest.approx(expected, abs=1e-4)


def test_digital_silence_within_a_file_keeps_all_distances_finite(clean, noise):
    gap = slice(clean.size // 4, clean.size // 2)
    cut, estimate = clean.copy(), clean + noise
    cut[gap] = 0
    for pair in ((cut, estimate), (estimate, cut), (cut, cut)):
        assert 0 <= metrics.llr(*pair) < 10
        assert 0 <= metrics.wss(*pair) < 1000
        assert -10 <= metrics.segmental_snr(*pair) <= 35


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda x: x * 0, "silent"),
        (lambda x: x / 0.0, "NaN or infinite samples"),
        (lambda x: x[:-1], "different lengths"),
        (lambda x: x[:0], "too short"),
    ],
)
def test_unfit_signals_are_told_apart(clean, change, reason):
    with np.errstate(all="ignore"):
        changed = change(clean)
    for function in (
        *(metrics.snr, metrics.si_sdr, metrics.segmental_snr, metrics.llr),
        *(metrics.wss, metrics.pesq, metrics.stoi, metrics.composite),
    ):
        with pytest.raises(metrics.MetricError) as caught:
            function(clean, changed)
        assert caught.value.reason == reason


def test_too_little_speech_is_told_apart(clean):
    speech = clean[16000:]
    for function, samples in (
        (metrics.pesq, 3900),
        (metrics.stoi, 3900),
        (metrics.llr, 599),
        (metrics.wss, 599),
        (metrics.segmental_snr, 599),
    ):
        with pytest.raises(metrics.MetricError, match="^too short: "):
            function(speech[:samples], speech[:samples])
    with pytest.raises(metrics.MetricError, match="^no speech: "):
        metrics.pesq(speech * 1e-30, speech)
    # PESQ meets its own NaN here, and raises no error of its own kind.
    (_, failure), (_, snr) = metrics.evaluate(
        speech, speech * 1e-30, RATE, ["pesq_wb", "snr"]
    )
    assert str(failure).startswith("other error: ValueError: cannot convert")
    assert snr == pytest.approx(0)


def test_wrong_use_is_an_error_at_once(clean):
    with pytest.raises(ValueError, match=r"has shape \(1, \d+\)"):
        metrics.snr(clean, clean[None])
    with pytest.raises(ValueError, match="16000 Hz, not 8000 Hz"):
        metrics.pesq(clean, clean, sample_rate=8000)
    with pytest.raises(UserError, match='no metric "sisdr"; did you mean'):
        metrics.resolve(["pesq_wb", "sisdr"])


IN_A_NEW_PROCESS = """
import sys, time
import numpy as np
import phasen_sb.metrics as metrics

signal = np.random.default_rng(0).normal(size=160000)
signal *= np.maximum(np.sin(np.arange(160000) / 800), 0.05)
estimate = signal + 0.1 * signal[::-1]
names = [n for n, m in metrics.METRICS.items() if m.needs_reference]
seconds = []
for _ in range(3):
    began = time.process_time()
    scores = dict(metrics.evaluate(signal, estimate, 16000, names))
    seconds.append(time.process_time() - began)
assert all(isinstance(score, float) for score in scores.values()), scores
print(min(seconds), *sys.modules.keys() & {"torch", "librosa", "speechbrain"})
"""


def test_ten_seconds_take_one_and_load_nothing_heavy():
    result = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, *heavy = result.stdout.split()
    assert float(seconds) < 1
    assert heavy == []


@pytest.mark.skipif(
    importlib.util.find_spec("speechmos") is None, reason="extra not installed"
)
def test_dnsmos_hears_the_noise():
    # Values of speechmos 0.0.1.1 itself.
    clean, noisy = read_pair("p232_001")
    assert metrics.dnsmos(clean) == pytest.approx(
        (3.4448, 3.9817, 3.1329), abs=0.01
    )
    assert metrics.dnsmos(noisy) == pytest.approx(
        (1.3862, 1.2040, 1.1232), abs=0.01
    )
    loud = metrics.dnsmos(clean * 20)
    assert all(1 <= rating <= 5 for rating in loud)


@pytest.mark.skipif(
    importlib.util.find_spec("speechmos") is not None, reason="installed"
)
def test_dnsmos_names_the_missing_extra(clean):
    with pytest.raises(UserError, match=r"phasen_sb\[dnsmos\]"):
        metrics.dnsmos(clean)
    with pytest.raises(UserError, match=r"phasen_sb\[dnsmos\]"):
        metrics.resolve(["dnsmos_ovrl"])
