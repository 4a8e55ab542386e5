"""Convolution over many frames as a product of spectra, with its gradients.

The Fourier transform is along time, in which a kernel spans many frames; the
few frequency bins that it spans are summed up as in a direct convolution. This
takes a third of the time of a direct convolution and its gradients in fp32.
"""

import torch
from torch.autograd.function import once_differentiable


class SpectralConvolution(torch.autograd.Function):
    """2-D convolution that keeps the size, in fp32 or fp64.

    Called as ``SpectralConvolution.apply(x, weight, bias, past)`` with ``[B,
    C_in, F, T]``, ``[C_out, C_in, height, width]``, both sizes odd, ``[C_out]``
    or None, and the number of frames that the kernel sees before the one that
    it computes, it returns what :func:`torch.nn.functional.conv2d` does, but
    for rounding.

    Example
    -------
    >>> x, weight = torch.randn(2, 3, 17, 50), torch.randn(4, 3, 1, 25)
    >>> out = SpectralConvolution.apply(x, weight, None, 12)
    >>> expected = torch.conv2d(x, weight, padding=(0, 12))
    >>> torch.allclose(out, expected, atol=1e-4)
    True
    """

    @staticmethod
    def forward(ctx, x, weight, bias, past):
        from scipy.fft import next_fast_len  # enhancing starts without SciPy

        taps = weight.shape[3]
        # What wraps around comes from zeros.
        size = max(taps, x.shape[3] + max(past, taps - 1 - past))
        size = next_fast_len(size, real=True)
        inputs = _transform(x, size, weight.shape[2] // 2)
        kernel = torch.nn.functional.pad(weight, (0, size - taps))
        kernel = torch.fft.rfft(kernel.roll(-past, 3))
        # [freq, height, C_out, C_in], in this order, or bmm is a loop.
        kernel = kernel.permute(3, 2, 0, 1).contiguous()
        ctx.save_for_backward(inputs, kernel)
        ctx.taps, ctx.past, ctx.size, ctx.shape = taps, past, size, x.shape
        out = _convolve_rows(inputs, kernel.mH.resolve_conj())
        if bias is not None:
            out[0] += size * bias  # at frequency 0
        return _transform_back(out, size, x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        inputs, kernel = ctx.saved_tensors
        height = kernel.shape[1]
        grads = _transform(grad, ctx.size, height // 2)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _convolve_rows(grads, kernel.flip(1))
            of_x = _transform_back(of_x, ctx.size, ctx.shape)
        if ctx.needs_input_grad[1]:
            count = inputs.shape[1] - height + 1
            inner = grads[:, height // 2 :][:, :count]
            of_weight = [
                _correlate(inner, inputs[:, row : row + count])
                for row in range(height)
            ]
            of_weight = torch.stack(of_weight, 1).permute(2, 3, 1, 0)
            of_weight = torch.fft.irfft(of_weight, ctx.size)
            of_weight = of_weight.roll(ctx.past, 3)[..., : ctx.taps]
        if ctx.needs_input_grad[2]:
            of_bias = grads[0].real.sum(0)
        return of_x, of_weight, of_bias, None


def _transform(x, size, margin):
    """``[B, C, F, T]`` to ``[freq, B * (F + 2 * margin), C]``."""
    spectra = torch.fft.rfft(x.permute(0, 2, 1, 3), size)  # [B, F, C, freq]
    batch, bins, channels, frequencies = spectra.shape
    out = spectra.new_empty(frequencies, batch, bins + 2 * margin, channels)
    out[:, :, :margin] = 0
    out[:, :, margin + bins :] = 0
    out[:, :, margin : margin + bins] = spectra.permute(3, 0, 1, 2)
    return out.flatten(1, 2)


def _convolve_rows(spectra, kernel):
    """Sums up what a kernel ``[freq, height, C_in, C_out]`` makes of rows.

    Where it spans rows of two examples, what comes out is of no meaning.
    """
    height = kernel.shape[1]
    count = spectra.shape[1] - height + 1
    out = spectra[:, :count] @ kernel[:, 0]
    for row in range(1, height):
        out = torch.baddbmm(out, spectra[:, row : row + count], kernel[:, row])
    if height > 1:
        out = torch.nn.functional.pad(out, (0, 0, 0, height - 1))
    return out


def _correlate(one, other):
    """``one.mH @ other``, of spectra, without a copy of one's conjugate."""
    one, other = (torch.view_as_real(x).flatten(2) for x in (one, other))
    parts = one.mT @ other  # [freq, 2 * C_out, 2 * C_in]
    parts = parts.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    real, imaginary = parts.unbind(2)
    return torch.complex(
        real[..., 0] + imaginary[..., 1], real[..., 1] - imaginary[..., 0]
    )


def _transform_back(spectra, size, shape):
    """``[freq, B * (F + 2 * margin), C]`` to ``[B, C, F, T]``."""
    batch, _, bins, frames = shape
    spectra = spectra.unflatten(1, (batch, -1))[:, :, :bins]
    out = torch.fft.irfft(spectra.permute(1, 2, 3, 0), size)[..., :frames]
    out = out.permute(0, 2, 1, 3)
    return out.contiguous(memory_format=torch.channels_last)
