"""recipes/cost.py, by hand."""

import pytest

from recipes.cost import BYTES, estimate_archive, estimate_training, main


def test_training_by_hand():
    cost = estimate_training(
        500, 40, 8, rate=1000, efficiency=0.5, loader_rate=100, noise_hours=100
    )
    # 4000 seconds of audio in a second, for 500 * 40 hours.
    assert cost.hours == 5 and cost.device_hours == 40
    assert cost.loader_cores == 40
    assert cost.network == 2 * 4000 * BYTES["flac"]
    corpus = 600 * 3600 * BYTES["flac"]
    assert cost.storage == pytest.approx(corpus + 2 * 16 * 8.77e6)
    one = estimate_training(500, 40, 1, rate=1000, efficiency=0.5)
    assert one.hours == 20  # one GPU waits for no other


def test_archive_by_hand():
    cost = estimate_archive(1e6, 100, core_time=0.1, efficiency=0.8)
    assert cost.hours == pytest.approx(1e6 / 800)
    assert cost.device_hours == pytest.approx(1e5 / 0.8)
    assert cost.storage == 2 * 1e6 * 3600 * BYTES["flac"]
    assert cost.network == pytest.approx(2 * 800 * BYTES["flac"])


def test_command_line(capsys):
    main("training --hours 500 --gpus 8 --price 2".split())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "time            3.0 h (0.1 days)"
    assert lines[1] == "GPU hours       24 (47 at 2 each)"
    assert lines[2] == "loader cores    31"
    main("archive --hours 1e6 --cores 1000 --format wav".split())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "time            68.4 h (2.9 days)"
    assert len(lines) == 4 and lines[2] == "storage         230.4 TB"
    for words in (
        "archive",
        "training --hours 0",
        "archive --hours 1 --cores 0",
    ):
        with pytest.raises(SystemExit):
            main(words.split())
    assert (
        "--cores: '0' is not a whole number above 0" in capsys.readouterr().err
    )
