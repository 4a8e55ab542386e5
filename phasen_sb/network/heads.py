"""The head of the amplitude stream, which estimates the mask.

Source: Yin et al., "PHASEN", AAAI 2020, section "Network Overview".
"""

import torch
from torch import nn

from phasen_sb.errors import choose
from phasen_sb.network.band_recurrence import BandRecurrence
from phasen_sb.network.frame_memory import FrameMemory
from phasen_sb.network.initialization import NearOneMask, near_one_complex_mask
from phasen_sb.network.layers import ConvNormAct, Linear
from phasen_sb.network.recurrence import avoid_packing, recur

RECURRENT_LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU}
MASK_ACTIVATIONS = {"sigmoid": torch.sigmoid, "softplus": nn.Softplus()}


class AmplitudeHead(nn.Module):
    """Estimates the mask: a recurrent layer over time and dense layers.

    With ``band_bins``, recurrence in bands takes their place, see
    :class:`phasen_sb.network.band_recurrence.BandRecurrence`.

    Arguments
    ---------
    channels : int
        Channels of the amplitude stream, C_A.
    n_bins : int
        Frequency bins, F.
    outputs : int, optional
        Values per frame; F by default, 2 * F for a complex mask.
    squeezed_channels : int
        Channels after the 1x1 convolution.
    recurrent : str
        ``lstm`` or ``gru``, bidirectional unless causal.
    recurrent_units : int
        Units in each direction.
    dense_units : int
        Units of the two hidden dense layers; with ``band_bins``, values of a
        band between recurrent layers.
    activation : str or None
        Of the mask, ``sigmoid`` or ``softplus``; None: complex mask.
    initialization : str
        ``identity`` or ``steady``: the mask starts near one; ``default``:
        PyTorch's.
    causal : bool
        Whether the recurrence runs forward only.
    band_bins : int, optional
        Bins of a band; by default the recurrence is over all bins at once.

    Raises
    ------
    phasen_sb.errors.UserError
        If ``recurrent`` or ``activation`` is unknown.

    Example
    -------
    >>> head = AmplitudeHead(8, 17, recurrent_units=4, dense_units=6)
    >>> head(torch.rand(2, 8, 50, 17)).shape
    torch.Size([2, 50, 17])
    """

    def __init__(
        self,
        channels: int,
        n_bins: int = 257,
        outputs: int | None = None,
        squeezed_channels: int = 8,
        recurrent: str = "lstm",
        recurrent_units: int = 300,
        dense_units: int = 600,
        activation: str | None = "sigmoid",
        initialization: str = "default",
        causal: bool = False,
        band_bins: int | None = None,
    ):
        super().__init__()
        choose("recurrent", recurrent, tuple(RECURRENT_LAYERS))
        self.activation = activation
        initializer = None
        if activation is not None:
            choose("mask_activation", activation, tuple(MASK_ACTIVATIONS))
        if initialization != "default":
            initializer = near_one_complex_mask
            if activation is not None:
                initializer = NearOneMask(activation)
        self.squeeze = ConvNormAct(
            channels, squeezed_channels, (1, 1), folded=True
        )
        self.bands = None
        if band_bins is not None:
            self.bands = BandRecurrence(
                n_bins,
                squeezed_channels,
                (outputs or n_bins) // n_bins,
                band_bins,
                RECURRENT_LAYERS[recurrent],
                recurrent_units,
                dense_units,
                causal=causal,
                initializer=initializer,
            )
            return
        self.recurrent = RECURRENT_LAYERS[recurrent](
            squeezed_channels * n_bins,
            recurrent_units,
            batch_first=True,
            bidirectional=not causal,
        )
        directions = 1 if causal else 2
        self.dense = nn.Sequential(
            Linear(directions * recurrent_units, dense_units),
            nn.ReLU(),
            Linear(dense_units, dense_units),
            nn.ReLU(),
            Linear(dense_units, outputs or n_bins, initializer=initializer),
        )

    def forward(
        self,
        x: torch.Tensor,
        valid: torch.Tensor | None = None,
        memory: FrameMemory | None = None,
    ) -> torch.Tensor:
        """Estimates the mask, in fp32 whatever the precision of the input.

        Arguments
        ---------
        x : torch.Tensor
            ``[B, C_A, T, F]``, zero on padded frames.
        valid : torch.Tensor, optional
            ``[B, 1, T, 1]``: 1.0 on valid frames, 0.0 on padded ones.
        memory : FrameMemory, optional
            Of the last step, which a causal head continues.

        Returns
        -------
        torch.Tensor
            ``[B, T, outputs]``; what padded frames hold is of no meaning.
        """
        x = self.squeeze(x, valid)
        # Bins and channels become one axis: bin * 8 + channel.
        return self.estimate(x.permute(0, 2, 3, 1).flatten(2), valid, memory)

    def estimate(
        self,
        x: torch.Tensor,
        valid: torch.Tensor | None = None,
        memory: FrameMemory | None = None,
    ) -> torch.Tensor:
        """Estimates the mask from squeezed features ``[B, T, F * 8]``."""
        if x.device.type == "cpu":
            # PyTorch's bf16 recurrence on CPUs is slower than its fp32 one.
            with torch.autocast("cpu", enabled=False):
                x = self._recur(x.float(), valid, memory)
        else:
            x = self._recur(x, valid, memory)
        x = (x if self.bands is not None else self.dense(x)).float()
        if self.activation is None:
            return x
        return MASK_ACTIVATIONS[self.activation](x)

    def avoid_packing(self) -> None:
        """Makes padded batches not synchronise with a GPU.

        See :func:`phasen_sb.network.recurrence.avoid_packing`.
        """
        if self.bands is not None:
            self.bands.avoid_packing()
        else:
            avoid_packing(self.recurrent)

    def _recur(self, x, valid, memory):
        if self.bands is not None:
            return self.bands(x, valid, memory)
        return recur(self.recurrent, x, valid, memory)
