"""What is fastest, found although some ways fail."""

import time

from phasen_sb.training.throughput import (
    Trial,
    Variant,
    choose_fastest,
    tabulate_trials,
    try_variants,
)


def way(batch, mode="eager"):
    return Variant(batch, mode, "fp32")


def test_variants_that_fail_or_hang_are_lines(monkeypatch):
    monkeypatch.setattr("phasen_sb.training.throughput.TIMED", 0.05)

    def prepare(variant):
        if variant.mode == "broken":
            raise RuntimeError("a compiler's reason\nand its traceback")
        return lambda: time.sleep(60 if variant.mode == "hangs" else 0.01)

    variants = [way(1), way(4), way(9, "broken"), way(9, "hangs"), way(8)]
    began = time.monotonic()
    trials = list(try_variants(variants, prepare, 2.0, began + 6))
    assert time.monotonic() - began < 30
    good, faster, broken, hung, late = trials
    assert 20 < good.speed <= 200 and 80 < faster.speed <= 800
    assert broken.problem == "RuntimeError: a compiler's reason"
    assert "took longer than" in hung.problem
    assert late.problem == "not tried: the time is over"
    assert choose_fastest(trials) is faster
    table = tabulate_trials(trials)
    assert table.count("\n") == 7 and "a compiler's reason" in table


def test_of_equally_fast_ones_the_smallest_batch_is_chosen():
    trials = [Trial(way(8), 100.0), Trial(way(4), 98.0), Trial(way(2), 90.0)]
    assert choose_fastest(trials).variant.batch == 4
    assert choose_fastest([Trial(way(8), problem="broken")]) is None
