"""Blocks against literal transcriptions of the paper's formulas."""

import pytest
import torch
from torch import nn

from phasen_sb import (
    AmplitudeHead,
    FrequencyTransformBlock,
    InformationCommunication,
    PhaseConv,
    TwoStreamBlock,
)
from phasen_sb.network.batch_norm import BatchNorm
from phasen_sb.network.memory_layout import time_innermost
from phasen_sb.signals.padding import clear_padded_frames, mark_valid_frames

B, C, T, F = 2, 3, 11, 7


def randomize(module):
    """Random weights and running statistics, in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, BatchNorm):
                layer.running_mean.normal_(0, 0.3, generator=generator)
                layer.running_var.uniform_(0.5, 2, generator=generator)
                layer.weight.uniform_(0.5, 2, generator=generator)
                layer.bias.normal_(0.3, 0.3, generator=generator)
    return module.eval()


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def norm_relu(x, norm):
    """Batch norm in evaluation mode and ReLU of ``[B, C, ...]``."""
    shape = (1, -1) + (1,) * (x.dim() - 2)
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    x = (x - norm.running_mean.view(shape)) * scale.view(shape)
    return torch.relu(x + norm.bias.view(shape))


def pointwise(x, conv):
    out = torch.einsum("oc,bctf->botf", conv.weight[:, :, 0, 0], x)
    return out + conv.bias[:, None, None]


def literal_frequency_transform_block(x, ftb):
    squeezed = norm_relu(pointwise(x, ftb.squeeze.conv), ftb.squeeze.norm)
    # [B, C_r * F, T], channel by channel, then a convolution over 9 frames.
    folded = torch.cat([squeezed[:, i].mT for i in range(5)], dim=1)
    kernel, bias = ftb.weigh.conv.weight[..., 0], ftb.weigh.conv.bias
    past = torch.zeros(B, folded.shape[1], 4)
    around = torch.cat([past, folded, past], dim=2)
    attention = torch.stack(
        [
            torch.einsum("ock,bck->bo", kernel, around[..., t : t + 9]) + bias
            for t in range(T)
        ],
        dim=2,
    )
    attention = norm_relu(attention, ftb.weigh.norm)  # [B, C or F, T]
    if ftb.attention == "channel":
        weighted = torch.einsum("bct,bctf->bctf", attention, x)
    else:
        weighted = torch.einsum("bft,bctf->bctf", attention, x)
    mixed = torch.einsum("of,bctf->bcto", ftb.transform.weight, weighted)
    joined = torch.cat([mixed, x], dim=1)
    return norm_relu(pointwise(joined, ftb.join.conv), ftb.join.norm)


@pytest.mark.parametrize("attention", ["channel", "bin"])
def test_frequency_transform_block_equals_its_formulas(attention):
    ftb = randomize(FrequencyTransformBlock(C, F, attention=attention))
    x = random(B, C, T, F)
    out = ftb(x)
    assert torch.allclose(
        out, literal_frequency_transform_block(x, ftb), atol=1e-5
    )
    assert out.std() > 0.1


@pytest.mark.parametrize("attention", ["channel", "bin"])
def test_frequency_transform_and_attention_known_answer(attention):
    ftb = FrequencyTransformBlock(C, F, attention=attention).eval()
    nn.init.zeros_(ftb.weigh.conv.weight)
    nn.init.constant_(ftb.weigh.conv.bias, 0.25)  # attention 1/4 everywhere
    nn.init.zeros_(ftb.join.conv.bias)
    weight = torch.cat([torch.eye(C), torch.eye(C)], dim=1)  # mixed + input
    ftb.join.conv.weight.data.copy_(weight[:, :, None, None])
    x = random(B, C, T, F).abs()
    nn.init.eye_(ftb.transform.weight)
    assert torch.allclose(ftb(x), 1.25 * x, rtol=1e-4)
    ftb.transform.weight.data.copy_(torch.eye(F).flip(0))
    assert torch.allclose(ftb(x), x + 0.25 * x.flip(3), rtol=1e-4)
    ftb.attention_limit = 0.1
    assert torch.allclose(ftb(x), x + 0.1 * x.flip(3), rtol=1e-4)


def test_every_bin_reaches_every_bin():
    ftb = FrequencyTransformBlock(C, F).eval()
    x = random(1, C, T, F).requires_grad_()
    for f in range(F):
        (grad,) = torch.autograd.grad(ftb(x)[..., f].sum(), x)
        assert (grad.abs().amax((0, 1, 2)) > 0).all()


@pytest.mark.parametrize("initialization", ["identity", "default"])
def test_information_communication_is_a_tanh_gate(initialization):
    gate = InformationCommunication(4, C, initialization)
    source, target = random(B, 4, T, F), random(B, C, T, F)
    expected = target * torch.tanh(pointwise(source, gate.conv))
    assert torch.allclose(gate(source, target), expected, atol=1e-6)


def test_two_stream_block_exchanges_the_streams_as_they_were_before():
    block = randomize(TwoStreamBlock(C, 4, F))
    a, p = random(B, C, T, F), random(B, 4, T, F)
    out_a, out_p = block(a, p)
    for layer in block.amplitude:
        a = layer(a)
    for layer in block.phase:
        p = layer(p)
    gate_a = torch.tanh(pointwise(p, block.phase_to_amplitude.conv))
    gate_p = torch.tanh(pointwise(a, block.amplitude_to_phase.conv))
    assert torch.allclose(out_a, a * gate_a, atol=1e-5)
    assert torch.allclose(out_p, p * gate_p, atol=1e-5)


def test_two_stream_block_has_the_papers_layers():
    def kernels(layers):
        return [
            layer.conv.kernel_size if hasattr(layer, "conv") else "FTB"
            for layer in layers
        ]

    block = TwoStreamBlock(C, 4, F, phase_kernels=[[5, 3], [25, 1]])
    expected = ["FTB", (5, 5), (25, 1), (5, 5), "FTB"]
    assert kernels(block.amplitude) == expected
    assert kernels(block.phase) == [(5, 3), (25, 1)]
    block = TwoStreamBlock(C, 4, F, frequency_transform=False)
    assert kernels(block.amplitude)[::4] == [(5, 5), (5, 5)]


@pytest.mark.parametrize("norm_first", [False, True])
def test_phase_conv_normalises_on_the_side_it_is_told(norm_first):
    unit = PhaseConv(4, 5, (5, 3), norm_first=norm_first)
    x = 7 * random(B, 4, T, F) + 3
    if norm_first:
        x0 = (x - x.mean((1, 2, 3), keepdim=True)) / x.std(
            (1, 2, 3), correction=0, keepdim=True
        )
        expected = nn.functional.conv2d(
            x0, unit.conv.weight, unit.conv.bias, padding=(2, 1)
        )
    else:
        x0 = nn.functional.conv2d(
            x, unit.conv.weight, unit.conv.bias, padding=(2, 1)
        )
        expected = (x0 - x0.mean((1, 2, 3), keepdim=True)) / x0.std(
            (1, 2, 3), correction=0, keepdim=True
        )
    assert torch.allclose(unit(x), expected, atol=1e-4)


@pytest.mark.parametrize("recurrent", ["lstm", "gru"])
def test_amplitude_head_recurs_over_time_in_the_documented_fold(recurrent):
    head = AmplitudeHead(
        C, F, recurrent=recurrent, recurrent_units=4, dense_units=6
    )
    x = random(B, C, T, F)
    squeezed = norm_relu(
        pointwise(x, randomize(head).squeeze.conv), head.squeeze.norm
    )
    folded = torch.zeros(B, T, 8 * F)
    for channel in range(8):
        for f in range(F):
            folded[:, :, 8 * f + channel] = squeezed[:, channel, :, f]
    states = torch.cat([head.recurrent(folded[i])[0][None] for i in range(B)])
    first, _, second, _, last = head.dense
    hidden = torch.relu(states @ first.weight.T + first.bias)
    hidden = torch.relu(hidden @ second.weight.T + second.bias)
    expected = torch.sigmoid(hidden @ last.weight.T + last.bias)
    assert torch.allclose(head(x), expected, atol=1e-6)


def in_memory_order(x):
    """Whether ``[B, C, T, F]`` lies in memory as ``[B, F, T, C]``."""
    return x.permute(0, 3, 2, 1).is_contiguous()


def streams_and_gradients(block, valid):
    """What a block gives, and all gradients, by name."""
    amplitude, phase = (
        clear_padded_frames(time_innermost(random(B, channels, T, F)), valid)
        for channels in (C, 2)
    )
    named = {"amplitude": amplitude, "phase": phase}
    for stream in named.values():
        stream.requires_grad_()
    outputs = block(amplitude, phase, valid)
    named |= dict(block.named_parameters())
    loss = sum(out.square().mean() for out in outputs)
    grads = torch.autograd.grad(loss, named.values())
    return outputs, dict(zip(named, grads, strict=True))


@pytest.mark.parametrize("norm", ["global", "frame"])
@pytest.mark.parametrize("padded", [False, True])
def test_the_layout_in_memory_is_kept_and_changes_nothing(
    norm, padded, monkeypatch
):
    torch.manual_seed(0)
    block = TwoStreamBlock(C, 2, n_bins=F, phase_norm=norm)
    valid = mark_valid_frames(torch.tensor([1.0, 0.6]), T) if padded else None
    outputs, grads = streams_and_gradients(block, valid)
    if not padded:
        kept = [*outputs, grads["amplitude"], grads["phase"]]
        assert all(in_memory_order(x) for x in kept)
    # A compiler lays out by itself: there, nothing is swapped.
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    plain, plain_grads = streams_and_gradients(block, valid)
    torch.testing.assert_close(outputs, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grads, plain_grads, rtol=1e-3, atol=1e-5)


def test_softplus_masks_exceed_one():
    head = AmplitudeHead(
        C, F, recurrent_units=4, dense_units=6, activation="softplus"
    )
    nn.init.constant_(head.dense[-1].bias, 3)
    mask = head(random(B, C, T, F))
    assert (mask > 1).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FrequencyTransformBlock(C, attention="time"), "channel, bin"),
        (lambda: PhaseConv(2, 4, (5, 3), norm="batch"), "norm is 'batch'"),
        (lambda: AmplitudeHead(C, recurrent="rnn"), "recurrent is 'rnn'"),
        (lambda: AmplitudeHead(C, activation="relu"), "sigmoid, softplus"),
    ],
)
def test_unknown_options_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
