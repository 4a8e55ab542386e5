"""The tiled network computes what the plain network computes."""

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from helpers.tiled_networks import (
    OPTIONS,
    SMALL,
    distance,
    small_enhancer,
    trained,
)

import phasen_sb
from phasen_sb import PHASEN, ConvISTFT, ConvSTFT, PhasenEnhancer
from phasen_sb.errors import UserError
from phasen_sb.native import library
from phasen_sb.optimized import optimize
from phasen_sb.optimized.evaluation import KEPT_FRAMES, Evaluation
from phasen_sb.optimized.network import TiledPHASEN
from phasen_sb.optimized.short import PLAIN_FRAMES, add_plain
from phasen_sb.optimized.threads import Workers


@torch.inference_mode()
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_equals_the_plain_network(options, operations):
    network = trained(**options)
    tiled = TiledPHASEN(network)
    half = TiledPHASEN(network, torch.bfloat16)
    for frames in (1, 2, 63, 64, 65, 201):
        x = torch.randn(1, frames, 17, 2)
        for ours, plain in zip(tiled(x), network(x), strict=True):
            assert distance(plain, ours) < 2e-5
        assert distance(tiled(x).mask, half(x).mask) < 0.02


@torch.inference_mode()
@pytest.mark.parametrize("name", ["seed", "paper", "odd channels"])
def test_what_memory_held_before_does_not_matter(name, operations, monkeypatch):
    network = trained(**OPTIONS[name])
    for dtype in (torch.float32, torch.bfloat16):
        tiled = TiledPHASEN(network, dtype)
        chosen = tiled.operations
        empty_tile = chosen.empty_tile
        for frames in (1, 65, 201):
            x, results = torch.randn(1, frames, 17, 2), []
            for value in (0, torch.nan, torch.inf):

                def filled(shape, dtype, value=value, make=empty_tile):
                    tile = make(shape, dtype)
                    if dtype == torch.uint8:  # of NaN
                        value = 255 if value else 0
                    return tile.fill_(value)

                with monkeypatch.context() as patch:
                    patch.setattr(chosen, "empty_tile", filled)
                    results.append(tiled(x).spectrogram)
            assert torch.equal(results[0], results[1])
            assert torch.equal(results[0], results[2])


@torch.inference_mode()
@pytest.mark.parametrize("name", ["seed", "paper", "odd channels", "gru"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_threads_change_nothing(name, dtype, operations):
    # Tiles of one size, with as many parts as tiles at most.
    tiled = TiledPHASEN(trained(**OPTIONS[name]), dtype, tile_frames=[32])
    for frames in (1, 65, 201):
        x = torch.randn(1, frames, 17, 2)
        expected, *others = (with_threads(tiled, x, n) for n in (1, 2, 3, 9))
        for other in others:
            for one, same in zip(expected, other, strict=True):
                assert distance(one, same) < 1e-5


def with_threads(model, x, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        result = model(x)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    return result


@torch.inference_mode()
def test_threads_compute_without_parallel_regions(monkeypatch):
    tiled, seen = TiledPHASEN(trained(), tile_frames=[32]), {}
    moments = tiled.operations.moments
    together = threading.Barrier(3, timeout=60)

    def observed(tile):
        if threading.get_ident() not in seen:
            seen[threading.get_ident()] = torch.get_num_threads()
            together.wait()  # fails unless three compute at once
        return moments(tile)

    monkeypatch.setattr(tiled.operations, "moments", observed)
    with_threads(tiled, torch.randn(1, 201, 17, 2), 3)
    assert list(seen.values()) == [1, 1, 1]


def test_threads_started_meanwhile_are_not_limited():
    def count(_=None):
        return torch.get_num_threads()

    def enhance(_):
        with Workers(2) as workers, ThreadPoolExecutor(1) as other:
            assert workers.map(count, range(2)) == [1, 1]
            assert other.submit(count).result() == 3

    with_threads(enhance, None, 3)


def test_recordings_of_any_length_share_kept_threads():
    def find_pools(_):
        pools = []
        for most in (4, 2, 3):
            with Workers(most) as workers:
                pools.append(workers._pool)
        return pools

    assert len(set(with_threads(find_pools, None, 4))) == 1


def test_an_error_in_a_thread_is_raised_and_threads_restored():
    def fail(item):
        if item == 2:
            raise ValueError("of the third")
        return item

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        with pytest.raises(ValueError, match="third"), Workers(3) as workers:
            workers.map(fail, range(5))
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_after_an_error_no_thread_is_still_at_work():
    """Threads are kept, so that they would work on into the next call."""
    done = threading.Event()

    def work(item):
        if item == 0:
            raise ValueError("of the calling thread")
        done.wait(0.5)
        done.set()

    def fail(_):
        with Workers(2) as workers:
            workers.map(work, range(2))

    with pytest.raises(ValueError, match="calling thread"):
        with_threads(fail, None, 2)
    assert done.is_set()


def test_an_error_ends_the_wait_for_the_next_part(monkeypatch):
    tiled = TiledPHASEN(trained(), tile_frames=[32])
    convolve = type(tiled.squeeze).forward
    callers = []

    def enhance(x):
        callers.append(threading.get_ident())
        return with_threads(tiled, x, 2)

    def fail(*arguments):
        if threading.get_ident() not in callers:
            raise ValueError("of the second part")
        convolve(*arguments)

    monkeypatch.setattr(type(tiled.squeeze), "forward", fail)
    with pytest.raises(ValueError, match="of the second part"):
        in_time(enhance, torch.randn(1, 64, 17, 2))


@torch.inference_mode()
def test_kernels_may_reach_further_than_a_tile():
    network = trained(phase_norm="frame", phase_kernels=[[25, 1]] * 6, blocks=1)
    tiled = TiledPHASEN(network, tile_frames=[32])
    x = torch.randn(1, 33, 17, 2)  # of the second part one frame is there
    ours = in_time(with_threads, tiled, x, 2)
    assert distance(network(x).spectrogram, ours.spectrogram) < 2e-5


def in_time(function, *arguments):
    """Calls a function, and fails if its threads wait for each other."""

    def call():
        try:
            with torch.inference_mode():
                done.put((function(*arguments), None))
        except Exception as error:
            done.put((None, error))

    done = queue.Queue()
    threading.Thread(target=call, daemon=True).start()
    result, error = done.get(timeout=60)
    if error is not None:
        raise error
    return result


def test_networks_that_it_does_not_compute_are_refused():
    enhancer = small_enhancer(causal=True, phase_norm="frame")
    with pytest.raises(ValueError, match="with a PHASEN that is not causal"):
        optimize(enhancer)


def test_kernels_of_other_sources_are_not_used(tmp_path, monkeypatch):
    if not library.list_kinds():
        pytest.skip("no compiled kernels")
    name = library.list_kinds()[0].library
    folder = Path(library.__file__).parent
    for path in [*folder.glob("*.cpp"), *folder.glob("*.hpp")]:
        (tmp_path / path.name).write_bytes(path.read_bytes() + b"\n")
    for path in folder.glob("_kernels*"):
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    with pytest.warns(UserWarning, match="install phasen_sb again"):
        assert library.load_library.__wrapped__(name) is None


@torch.inference_mode()
@pytest.mark.parametrize("tile_frames", [2, 30, 100])
def test_the_size_of_the_tiles_does_not_matter(tile_frames):
    network = trained()
    x = torch.randn(1, 150, 17, 2)
    tiled = TiledPHASEN(network, tile_frames=[tile_frames])
    assert distance(network(x).spectrogram, tiled(x).spectrogram) < 2e-5


def test_between_blocks_amplitudes_are_24_bit_floats():
    for dtype, size in ((torch.float32, 3), (torch.bfloat16, 2)):
        tiled = TiledPHASEN(trained(), dtype, tile_frames=[32])
        evaluation = Evaluation(tiled, torch.randn(96, 17, 2), Workers(1))
        amplitudes, _ = evaluation._allocate_memory()
        assert amplitudes.x.nbytes == size * 96 * 17 * 24


@torch.inference_mode()
def test_long_recordings_do_without_kept_stems():
    network = trained(blocks=2)
    x = torch.randn(1, KEPT_FRAMES + 1, 17, 2)
    assert distance(network(x).phase, TiledPHASEN(network)(x).phase) < 2e-5


@torch.inference_mode()
def test_lengths_as_in_the_plain_network():
    network = trained()
    x, lengths = torch.randn(3, 50, 17, 2), torch.tensor([1.0, 0.3, 0.02])
    plain = network(x, lengths).spectrogram
    ours = TiledPHASEN(network)(x, lengths).spectrogram
    assert distance(plain, ours) < 2e-5
    assert not ours[1, 15:].any() and not ours[2, 1:].any()


@torch.inference_mode()
def test_bf16_is_close_to_fp32():
    enhancer = PhasenEnhancer(
        ConvSTFT(16000), ConvISTFT(16000), PHASEN(recurrent_units=20)
    ).eval()
    noisy = torch.randn(1, 16000)
    fp32 = optimize(enhancer, "fp32")(noisy)[0]
    assert distance(enhancer(noisy)[0], fp32) < 1e-5
    bf16 = optimize(enhancer, "bf16")(noisy)[0]
    assert 0 < distance(fp32, bf16) < 10 ** (-45 / 20)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_takes_spectrograms_however_they_lie_in_memory(dtype):
    torch.manual_seed(0)
    tiled = TiledPHASEN(PHASEN(n_fft=32, recurrent_units=8).eval(), dtype)
    x = torch.randn(1, 2, 40, 17).permute(0, 2, 3, 1)
    odd = torch.randn(x.numel() + 1)[1:].view(x.shape).copy_(x)
    expected = tiled(x.contiguous()).spectrogram
    for other in (x, odd, x.double()):
        assert torch.equal(tiled(other).spectrogram, expected)


def test_silence_stays_silence():
    enhancer = PhasenEnhancer(
        ConvSTFT(16000), ConvISTFT(16000), PHASEN(recurrent_units=8)
    ).eval()
    assert not optimize(enhancer, "bf16")(torch.zeros(1, 3000))[0].any()


def test_weights_are_copied_and_the_enhancer_left_alone():
    enhancer = PhasenEnhancer(
        ConvSTFT(16000), ConvISTFT(16000), PHASEN(recurrent_units=8)
    )
    fast = phasen_sb.optimize(enhancer, "fp32")
    x = torch.randn(1, 3000)
    before = fast(x)[0]
    with torch.no_grad():
        for parameter in enhancer.parameters():
            parameter.mul_(1.1)
    assert torch.equal(fast(x)[0], before)
    assert enhancer.training
    assert all(p.requires_grad for p in enhancer.network.parameters())
    assert not any(p.requires_grad for p in fast.network.parameters())


def test_the_environment_chooses_kernels(monkeypatch):
    list_kinds = library.list_kinds.__wrapped__
    monkeypatch.setenv("PHASEN_KERNELS", "none")
    assert list_kinds() == ()
    monkeypatch.setenv("PHASEN_KERNELS", "")
    empty = list_kinds()
    monkeypatch.delenv("PHASEN_KERNELS")
    assert list_kinds() == empty
    monkeypatch.setenv("PHASEN_KERNELS", "off")
    with pytest.raises(UserError, match="PHASEN_KERNELS is 'off'; set it to"):
        list_kinds()
    for name, kinds in library.CHOICES.items():
        monkeypatch.setenv("PHASEN_KERNELS", name)
        monkeypatch.setattr(library, "is_supported", kinds.__contains__)
        assert list_kinds() == kinds
        monkeypatch.setattr(library, "is_supported", lambda kind: False)
        monkeypatch.setattr(library, "load_library", lambda name: None)
        with pytest.raises(UserError, match=f"{kinds[0].title} are not comp"):
            list_kinds()
        monkeypatch.setattr(library, "load_library", lambda name: object())
        with pytest.raises(UserError, match=f"CPU has no {kinds[0].title}"):
            list_kinds()


@torch.inference_mode()
def test_short_recordings_need_no_tiles_without_kernels(monkeypatch):
    monkeypatch.setattr(library, "list_kinds", lambda: ())
    calls = []
    for name, module in (("plain", PHASEN), ("tiles", TiledPHASEN)):
        forward = module.forward
        monkeypatch.setattr(
            module,
            "forward",
            lambda *x, n=name, f=forward: calls.append(n) or f(*x),
        )
    for frames, threads, expected in (
        (PLAIN_FRAMES, 1, "plain"),
        (PLAIN_FRAMES, 2, "tiles"),
        (PLAIN_FRAMES + 1, 1, "tiles"),
    ):
        network = trained(phase_norm="frame")
        ours = add_plain(network, TiledPHASEN(network))
        x = torch.randn(1, frames, 17, 2)
        result = with_threads(ours, x, threads)
        assert calls == [expected]
        assert distance(network(x).spectrogram, result.spectrogram) < 2e-5
        calls.clear()


@torch.inference_mode()
def test_all_kernels_agree(monkeypatch):
    network, x = trained(), torch.randn(1, 201, 17, 2)
    expected = network(x).spectrogram
    for kinds in [(), *((kind,) for kind in library.KINDS)]:
        if all(map(library.is_supported, kinds)):
            monkeypatch.setattr(library, "list_kinds", lambda k=kinds: k)
            ours = TiledPHASEN(network)(x).spectrogram
            assert (ours - expected).abs().max() < 1e-4


def test_says_what_it_cannot_do():
    enhancer = PhasenEnhancer(
        ConvSTFT(16000), ConvISTFT(16000), torch.nn.Identity()
    )
    with pytest.raises(ValueError, match="PhasenEnhancer with a Identity"):
        optimize(enhancer)
    enhancer.network = PHASEN(**SMALL)
    with pytest.raises(ValueError, match="precision is 'fp8'"):
        optimize(enhancer, "fp8")
    enhancer.network.to("meta")
    with pytest.raises(ValueError, match="on meta"):
        optimize(enhancer)
