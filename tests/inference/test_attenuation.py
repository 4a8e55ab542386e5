"""How much is removed at most, and what was removed."""

import numpy as np
import pytest
import soundfile as sf
from helpers.small_model import decibels, enhancer_of, names, write_noise

from phasen_sb.archives.inputs import find_inputs
from phasen_sb.archives.jobs import enhance_files
from phasen_sb.errors import UserError
from phasen_sb.inference.output_paths import check_residuals


@pytest.fixture(scope="module")
def silencer():
    """An Enhancer that removes everything."""
    return enhancer_of(lambda wave: 0 * wave)


@pytest.mark.parametrize(
    "strength, limit, level",
    [
        (1.0, 12, -12.0),
        (1.0, 0, 0.0),
        (0.9, 12, -12.0),  # by itself -20 dB
        (0.5, 12, -6.02),
    ],
)
def test_no_more_than_the_limit_is_attenuated(
    silencer, tmp_path, strength, limit, level
):
    source = write_noise(tmp_path / "a.wav", 80000, 44100, subtype="FLOAT")
    noise = sf.read(source)[0]
    wave = silencer.enhance(noise, 44100, strength, limit)
    result = silencer.enhance_file(source, strength=strength, limit=limit)
    assert decibels(wave, noise) == pytest.approx(level, abs=0.01)
    assert np.allclose(sf.read(result.target)[0], wave, atol=1e-6)


@pytest.mark.parametrize("limit", [-1, float("nan")])
def test_impossible_limits_are_refused(silencer, limit):
    with pytest.raises(UserError, match=f"The limit is {limit} dB"):
        silencer.enhance(np.zeros(100), 16000, limit=limit)


@pytest.mark.parametrize("normalize", [False, True])
def test_output_and_residual_add_up_to_the_input(tmp_path, normalize):
    loud = enhancer_of(lambda wave: 1.5 * wave)
    source = write_noise(tmp_path / "a.wav", 50000, channels=2, subtype="FLOAT")
    result = loud.enhance_file(
        source, format="wav:PCM_24", normalize=normalize, residual=True
    )
    assert result.residual == tmp_path / "a.residual.wav"
    noise, removed = sf.read(source)[0], sf.read(result.residual)[0]
    assert np.allclose(removed, -0.5 * noise, atol=1e-6)


def test_residuals_of_a_folder(silencer, tmp_path):
    for name in ("a.wav", "b.flac"):
        write_noise(tmp_path / name, 1000)
    pairs = [
        (source, tmp_path / f"{source.stem}.enhanced{source.suffix}")
        for source, _ in find_inputs([tmp_path])[0]
    ]
    enhance_files(silencer, pairs, progress=False, residual=True)
    assert {"a.residual.wav", "b.residual.wav"} <= set(names(tmp_path))
    assert len(find_inputs([tmp_path])[0]) == 2  # neither outputs nor residuals
    report = enhance_files(silencer, pairs, progress=False, residual=True)
    assert len(report.kept) == 2
    same_name = [(tmp_path / "a.wav", tmp_path / "b.enhanced.wav")]
    with pytest.raises(UserError, match="residuals.*both be.*b.residual.wav"):
        check_residuals(pairs + same_name)
    other = (tmp_path / "c.residual.wav", tmp_path / "d.wav")
    with pytest.raises(UserError, match="c.residual.wav, the residual of"):
        check_residuals([other, (tmp_path / "e.wav", tmp_path / "c.wav")])
