"""HopStep: a causal enhancer from a hop of samples to the next one."""

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.models.enhancer import RUNNING, PhasenEnhancer, check_causal
from phasen_sb.network.frame_memory import FrameMemory
from phasen_sb.network.frame_step import FrameStep
from phasen_sb.signals.streaming_stft import StreamingISTFT, StreamingSTFT

#: Larger samples, infinity and NaN count as zero.
LARGEST = 1e15


class HopStep(nn.Module):
    """Enhances a signal hop by hop: STFT, running level, network, inverse STFT.

    Each hop comes back enhanced, ``delay`` samples late, as by
    :class:`phasen_sb.StreamingEnhancer`; the first ``delay`` samples are zero.

    Arguments
    ---------
    enhancer : PhasenEnhancer
        With a causal network, and with ``normalize`` running or False.
        On a CPU, in fp32. Weights are copied.

    Raises
    ------
    phasen_sb.errors.UserError
        If the enhancer is of another class or needs the whole utterance, or
        its STFT is not centred.

    Example
    -------
    >>> from phasen_sb import PHASEN, ConvISTFT, ConvSTFT
    >>> sizes = {"win_length": 32, "hop_length": 16}
    >>> network = PHASEN(recurrent_units=8, phase_norm="frame", causal=True)
    >>> step = HopStep(PhasenEnhancer(
    ...     ConvSTFT(16000, **sizes), ConvISTFT(16000, **sizes), network,
    ...     normalize="running",
    ... ).eval())
    >>> enhanced, states = step(torch.randn(256), step.first_states())
    >>> enhanced.shape, step.delay
    (torch.Size([256]), 256)
    """

    def __init__(self, enhancer: PhasenEnhancer):
        super().__init__()
        check_causal(enhancer)
        stft = enhancer.stft
        front_end = StreamingSTFT(stft)
        self.hop_length, self.win_length = stft.hop_length, stft.win_length
        self.normalize = enhancer.normalize
        # Not a submodule: of the enhancer only the level's constants count.
        self.follow_level = enhancer.follow_level
        self.step = FrameStep(enhancer.network)
        # Samples that are kept until a hop is complete.
        kept = -front_end.after % self.hop_length
        self.history = self.win_length - self.hop_length + kept
        late = self.step.lookahead_frames
        self.delay = self.history + late * self.hop_length
        #: Hops before that of the first frame, which is centred on the first
        #: sample, and before the one with the first sample that comes out.
        self.early = (front_end.after + kept) // self.hop_length - 1
        self.warm_up = -(-self.delay // self.hop_length)
        with torch.no_grad():
            analysis, synthesis = _as_matrices(enhancer, front_end)
        self.register_buffer("analysis", analysis)
        self.register_buffer("synthesis", synthesis)
        self.register_buffer("squares", enhancer.istft.window.square())

    def first_states(self) -> list[torch.Tensor]:
        """Returns the states of a signal that begins: zeros."""
        late = self.step.lookahead_frames if self.normalize else 0
        return [
            *(torch.zeros(1), torch.zeros(1, 2)),
            torch.zeros(2, self.win_length),
            # Empty states would crash ONNX Runtime.
            *(torch.zeros(count) for count in (self.history, late) if count),
            *self.step.first_states(),
        ]

    def forward(
        self, noisy: torch.Tensor, states: list[torch.Tensor]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Enhances the next hop.

        Arguments
        ---------
        noisy : torch.Tensor
            ``[hop_length]``
        states : list of torch.Tensor
            What the last step returned, or :meth:`first_states`.

        Returns
        -------
        enhanced : torch.Tensor
            ``[hop_length]``
        states : list of torch.Tensor
            For the next hop.
        """
        count, power, tail, *others = states
        memory = FrameMemory(others)
        noisy = torch.where(noisy.abs() < LARGEST, noisy, 0.0)
        heard = memory.prepend(noisy, self.history, dim=0)
        frame = heard[: self.win_length] @ self.analysis
        frame = frame.view(1, self.step.n_bins, 2)
        if self.early:
            exists = (count >= self.early).float()
            frame = frame * exists
        if self.normalize == RUNNING:
            level, power = self.follow_level(frame[None], power)
            frame = frame / level[0]
            late = self.step.lookahead_frames
            levels = memory.prepend(level.flatten(), late, dim=0)
        network = others[len(memory.after) :]
        enhanced, network = self.step(frame, network)
        if self.early:  # nothing has been heard yet
            network = [state * exists for state in network]
        if self.normalize == RUNNING:
            enhanced = enhanced * levels[0]
        wave = enhanced.flatten() @ self.synthesis
        first = self.early + self.step.lookahead_frames
        frames = torch.stack([wave, self.squares]) * (count >= first).float()
        added = tail + frames
        tail = F.pad(added, (0, self.hop_length))[:, self.hop_length :]
        wave, weights = added[:, : self.hop_length].unbind()
        position = count * self.hop_length + torch.arange(self.hop_length)
        # Before the beginning there is nothing, either.
        wave = wave * (position >= self.delay).float()
        wave = wave / weights.clamp(min=1e-11)
        count = (count + 1).clamp(max=self.warm_up)
        return wave, [count, power, tail, *memory.after, *network]


def _as_matrices(enhancer, front_end):
    """STFT and inverse STFT of a frame, ``[win_length, 2 * F]`` and back."""
    stft, bins = enhancer.stft, enhancer.network.n_bins
    first = -(-front_end.before // stft.hop_length)
    start = first * stft.hop_length - front_end.before
    units = F.pad(torch.eye(stft.win_length), (start, 0))
    analysis = stft(units)[:, first].flatten(1)
    units = torch.eye(2 * bins).view(2 * bins, 1, bins, 2)
    synthesis = StreamingISTFT(enhancer.istft).synthesise(units)[:, 0]
    return analysis, synthesis
