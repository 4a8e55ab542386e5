"""Compiled kernels compute, one by one, what PyTorch's operators compute."""

import pytest
import torch

from phasen_sb.native import library
from phasen_sb.optimized.native import (
    convolution as convolutions,
    operations as native,
    recurrent,
)
from phasen_sb.optimized.portable import operations as portable

COMPILED = [
    kind for kind in library.KINDS if library.load_library(kind.library)
]


@pytest.fixture(params=COMPILED, ids=lambda kind: kind.title)
def dtype(request, monkeypatch):
    """The precision of a kind of kernels, which is switched on."""
    if not library.is_supported(request.param):
        pytest.skip("no such kernels")
    switch_on(request.param, monkeypatch)
    return request.param.dtype


@pytest.fixture(
    params=[kind for kind in COMPILED if kind.dtype == torch.float32],
    ids=lambda kind: kind.title,
)
def fp32(request, monkeypatch):
    """Kernels of fp32, which are switched on."""
    if not library.is_supported(request.param):
        pytest.skip("no such kernels")
    switch_on(request.param, monkeypatch)


def switch_on(kind, monkeypatch):
    kinds = [one for one in library.KINDS if one.library == kind.library]
    monkeypatch.setattr(library, "list_kinds", lambda: (kind, *kinds))


def tile(*shape, dtype):
    """Random values in memory that kernels may read beyond."""
    return native.empty_tile(shape, dtype).copy_(torch.randn(shape))


def assert_close(ours, plain):
    tolerance = 1e-5 if plain.dtype == torch.float32 else 1e-2
    ours, plain = ours.float(), plain.float()
    assert (ours - plain).norm() < tolerance * plain.norm()


# Channels in and out, frames and bins of the kernel, frames, bins.
CONVOLUTIONS = {
    "time": (24, 24, 25, 1, 96, 16),
    "both": (24, 24, 5, 5, 32, 16),
    "both, all bins": (24, 24, 5, 5, 8, 257),
    "few channels": (12, 12, 25, 3, 64, 16),
    "few channels, all bins": (12, 12, 5, 5, 12, 257),
    "pointwise": (12, 24, 1, 1, 12, 16),
    "odd channels": (5, 3, 3, 3, 20, 16),
    "odd channels of fives": (20, 17, 5, 3, 20, 19),
    "many channels": (96, 96, 3, 3, 16, 16),
    "many channels of fives": (60, 96, 5, 3, 16, 16),
    "spectrum": (2, 48, 7, 1, 68, 16),
}


@pytest.mark.parametrize("after", ["", "relu", "gate"])
@pytest.mark.parametrize(
    "shape", CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys()
)
def test_convolution(shape, after, dtype):
    torch.manual_seed(0)
    inputs, outputs, taps, kernel_bins, frames, bins = shape
    weight = torch.randn(outputs, inputs, taps, kernel_bins)
    weight /= (inputs * taps * kernel_bins) ** 0.5
    bias = torch.randn(outputs)
    ours = native.Conv(weight, bias, dtype, after)
    assert ours.kind == native.find_kind(dtype)
    plain = portable.Conv(weight, bias, dtype, after)
    # Of 16 bins, what is read behind the last lies behind the memory, too.
    reach = max(ours.reach, plain.reach)
    x = tile(bins, frames + 2 * reach, inputs, dtype=dtype)
    gated, added = (tile(bins, frames, outputs, dtype=dtype) for _ in range(2))
    results = [tile(bins, frames, outputs, dtype=dtype) for _ in range(2)]
    for conv, result in zip((ours, plain), results, strict=True):
        around = slice(reach - conv.reach, reach + frames + conv.reach)
        conv(x[:, around], result, gated, added)
    assert_close(*results)


@pytest.mark.parametrize("bins", [19, 33, 67, 257])
@pytest.mark.parametrize("channels", [3, 5, 12])
@pytest.mark.parametrize("packed", [1, 2, 4])
def test_kernels_of_fives_with_bins_packed(
    packed, channels, bins, fp32, monkeypatch
):
    monkeypatch.setattr(convolutions, "PACKS", (packed,))
    monkeypatch.setattr(convolutions, "INPUT_COST", -1e9)
    torch.manual_seed(0)
    weight = torch.randn(channels, 7, 15, 5)
    weight /= 525**0.5
    bias = torch.randn(channels)
    ours = native.Conv(weight, bias, torch.float32, "relu")
    assert ours.layout.fives == 3 and ours.layout.bins == packed
    x = tile(bins, 12 + 2 * 7, 7, dtype=torch.float32)
    result = tile(bins, 12, channels, dtype=torch.float32)
    ours(x, result)
    operands = x.permute(2, 1, 0)[None], weight, bias
    expected = torch.nn.functional.conv2d(
        *(operand.double() for operand in operands), padding=(0, 2)
    )
    assert_close(result, expected[0].relu().permute(2, 1, 0).float())


def test_kernels_of_fives_take_fewer_products(fp32):
    def products(taps):
        weight, bias = torch.randn(24, 24, taps, 5), torch.zeros(24)
        return native.Conv(weight, bias, torch.float32).layout.cost

    assert products(5) < 0.6 * 5 * 5 * 24 * 24
    assert products(3) >= 3 * 5 * 24 * 24


@pytest.mark.parametrize("per_bin", [False, True])
@pytest.mark.parametrize(
    "shape", [(257, 32, 24), (33, 7, 5), (17, 3, 96), (16, 20, 12)], ids=str
)
def test_frequency_transform(shape, per_bin, dtype):
    torch.manual_seed(0)
    bins, frames, channels = shape
    taps, weights = 9, bins if per_bin else channels
    arguments = (
        torch.randn(weights),
        taps,
        torch.randn(bins, bins) / bins**0.5,
        torch.randn(channels, 2 * channels) / channels**0.5,
        torch.randn(channels),
        per_bin,
        dtype,
    )
    x = tile(*shape, dtype=dtype)
    shares = torch.randn(frames + taps - 1, taps * weights).to(dtype)
    results = [tile(*shape, dtype=dtype) for _ in range(3)]
    for operations, limit, result in zip(
        (native, portable, native), (0.5, 0.5, None), results, strict=True
    ):
        operations.Transform(*arguments, limit)(x, shares, result)
    assert_close(*results[:2])
    with pytest.raises(AssertionError):
        assert_close(*results[1:])


@pytest.mark.parametrize("frames", [1, 16, 37])
def test_attention_shares(frames, dtype):
    torch.manual_seed(0)
    squeeze, weigh = torch.randn(5, 24, 1, 1), torch.randn(17 * 5, 9 * 24)
    x = tile(17, frames, 24, dtype=dtype)
    results = [torch.zeros(frames, 9 * 24, dtype=dtype) for _ in range(2)]
    for operations, result in zip((native, portable), results, strict=True):
        conv = operations.Conv(
            squeeze, torch.randn(5) * 0, dtype, "relu", dense=False
        )
        operations.AttentionShares(conv, weigh, dtype)(x, result)
    assert_close(*results)


def test_norms(dtype):
    torch.manual_seed(0)
    norm = torch.nn.LayerNorm(12, eps=1e-5)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = 3 + tile(17, 37, 12, dtype=dtype)
    with torch.no_grad():
        for name, arguments in (
            ("affine", (norm.weight, norm.bias)),
            ("frame_norm", (norm,)),
        ):
            results = [tile(*x.shape, dtype=dtype).copy_(x) for _ in range(2)]
            getattr(native, name)(results[0], *arguments)
            getattr(portable, name)(results[1], *arguments)
            assert_close(*results)
    for ours, plain in zip(native.moments(x), portable.moments(x), strict=True):
        assert ours == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("operations", [native, portable])
@pytest.mark.parametrize("shape", [(3, 16, 24), (5, 7, 3), (2, 1, 1)], ids=str)
def test_24_bit_floats_have_16_significant_bits(shape, operations, fp32):
    torch.manual_seed(0)
    x = torch.randn(shape) * 10.0 ** torch.randint(-30, 30, shape)
    x.view(-1)[0] = -torch.inf
    kept = torch.zeros(*shape[:2], 3 * shape[2], dtype=torch.uint8)
    back = torch.empty(shape)
    operations.to_float24(x, kept)
    operations.from_float24(kept, back)
    mantissa, exponent = x.double().frexp()
    magnitude = (mantissa.abs() * 2**16 + 0.5).floor() / 2**16
    rounded = torch.ldexp(magnitude, exponent) * x.sign()
    assert torch.equal(back[x.isfinite()], rounded.float()[x.isfinite()])
    assert back.view(-1)[0] == -torch.inf


@pytest.mark.parametrize("operations", [native, portable])
def test_24_bit_floats_of_some_frames(operations, fp32):
    x = torch.arange(120.0).view(2, 12, 5)
    kept = torch.zeros(2, 12, 15, dtype=torch.uint8)
    operations.to_float24(x, kept)
    place = torch.full((2, 9, 5), -1.0)
    operations.from_float24(kept[:, 5:], place[:, 1:8])
    assert torch.equal(place[:, 1:8], x[:, 5:])
    assert (place[:, 0] == -1).all() and (place[:, 8:] == -1).all()


@pytest.mark.parametrize("units", [5, 64, 150])
def test_recurrent_layer(units, dtype, monkeypatch):
    monkeypatch.setattr(recurrent, "RECURRENT_FRAMES", 32)
    torch.manual_seed(0)
    layer = torch.nn.LSTM(40, units, batch_first=True, bidirectional=True)
    with torch.no_grad():
        x = torch.randn(75, 40)
        assert_close(
            recurrent.LSTM(layer, dtype)(x.to(dtype)),
            layer(x[None])[0][0].to(dtype),
        )


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("taps", [1, 5])
def test_nan_and_infinity_do_not_vanish(taps, value, dtype):
    weight, bias = torch.ones(24, 24, taps, 1), torch.zeros(24)
    conv = native.Conv(weight, bias, dtype, "relu")
    x = tile(16, 32 + 2 * conv.reach, 24, dtype=dtype)
    x[3, 5 + conv.reach, 7] = value
    out = tile(16, 32, 24, dtype=dtype)
    conv(x, out)
    assert not out[3, 5].isfinite().any()
