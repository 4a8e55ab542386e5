"""StreamingEnhancer: live speech, block by block."""

import math
import os

import numpy as np
import torch
import torch.nn.functional as F

from phasen_sb.errors import UserError
from phasen_sb.inference.arrays import Wave, from_signal, to_channels
from phasen_sb.inference.frame_engines import make_engine
from phasen_sb.models.enhancer import RUNNING, PhasenEnhancer, check_causal
from phasen_sb.signals.streaming_stft import StreamingISTFT, StreamingSTFT
from phasen_sb.utils.hardware import choose_hardware


class StreamingEnhancer:
    """Enhances signals that come block by block, several at once.

    Each block comes back as long as it went in, ``delay`` samples later: the
    first ``delay`` samples are zero, and :meth:`flush` returns as many after
    the end. Without them the result is that of the model for the whole signal.
    The signals have the model's sample rate, and each is enhanced by itself.
    Memory does not grow.

    Arguments
    ---------
    model : PhasenEnhancer
        With a causal network, and with ``normalize`` running or False. It is
        put in evaluation mode.
    block_samples : int
        Every block is a multiple of so many samples. If it is a multiple of
        the hop, the delay is shorter by a hop, as much as such a block takes
        to come.
    engine : str, optional
        What computes the network: ``onnxruntime``, on one thread of a CPU, the
        fastest for short blocks and few streams; or ``pytorch``. The results
        are the same. By default it is the first where the extra ``onnx`` is
        installed and the model is on a CPU, in fp32, and has a
        :class:`phasen_sb.PHASEN`, not a subclass. It copies the weights.

    Raises
    ------
    phasen_sb.errors.UserError
        If the model needs the whole utterance, ``block_samples`` is not
        possible, or the engine is unknown, not installed, or does not take
        the network.

    Example
    -------
    >>> from phasen_sb import PHASEN, ConvISTFT, ConvSTFT
    >>> sizes = {"win_length": 32, "hop_length": 16}
    >>> network = PHASEN(recurrent_units=8, phase_norm="frame", causal=True)
    >>> model = PhasenEnhancer(
    ...     ConvSTFT(16000, **sizes), ConvISTFT(16000, **sizes), network,
    ...     normalize="running",
    ... )
    >>> stream = StreamingEnhancer(model, block_samples=256)
    >>> stream.latency, stream.delay
    (32.0, 256)
    >>> stream.process(np.random.randn(2, 512)).shape, stream.flush().shape
    ((2, 512), (2, 256))
    """

    def __init__(
        self,
        model: PhasenEnhancer,
        block_samples: int = 1,
        engine: str | None = None,
    ):
        check_causal(model)
        if not (block_samples >= 1 and block_samples % 1 == 0):
            raise UserError(
                f"block_samples is {block_samples}; it must be a whole "
                "number, at least 1."
            )
        self.model = model.eval()
        self.block_samples = int(block_samples)
        self._engine = make_engine(model.network, engine)
        self.reset()

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike,
        device: str = "cpu",
        block_samples: int = 1,
        trust: bool = False,
        engine: str | None = None,
    ) -> "StreamingEnhancer":
        """Loads a causal model.

        Arguments
        ---------
        source : str or path
            A folder that ``phasen export`` wrote, the output folder of a
            training run, the name of a model that ships with the package, or
            one on the Hugging Face hub.
        device : str
            Such as ``cpu`` or ``cuda``.
        block_samples : int
            As above.
        trust : bool
            As in :meth:`phasen_sb.Enhancer.from_pretrained`.
        engine : str, optional
            As above.

        Returns
        -------
        StreamingEnhancer

        Raises
        ------
        phasen_sb.errors.UserError
            If there is no such model or device, or as above.
        """
        device = choose_hardware(device, "fp32")["device"]
        model = PhasenEnhancer.from_pretrained(source, trust)
        return cls(model.to(device), block_samples, engine)

    @property
    def sample_rate(self) -> int:
        """The model's sample rate (Hz)."""
        return self.model.stft.sample_rate

    @property
    def latency(self) -> float:
        """How long sound takes to come out, computing aside (ms).

        It is that of the window and of the look-ahead: the delay and, where
        they are not longer than a hop, the blocks.
        """
        return self.model.latency

    @property
    def delay(self) -> int:
        """How many samples later a sample comes out of :meth:`process`."""
        step = math.gcd(self.block_samples, self.model.stft.hop_length)
        return self.model.latency_samples - step + -self._stft.after % step

    def reset(self) -> None:
        """Forgets what came, so that other signals can begin."""
        self._stft = StreamingSTFT(self.model.stft)
        self._istft = StreamingISTFT(self.model.istft)
        self._engine.reset()
        self._level_state: torch.Tensor | None = None
        # Levels of the frames that the network still holds back.
        self._levels: torch.Tensor | None = None
        # Frames, and then samples, of before the beginning, to leave out.
        self._early_frames = self.model.network.lookahead_frames
        self._early_samples = self._stft.before
        self._ready: torch.Tensor | None = None
        self._like: np.ndarray | torch.Tensor | None = None
        self._samples = 0

    @torch.inference_mode()
    def process(self, block: Wave) -> Wave:
        """Enhances the next block.

        Arguments
        ---------
        block : np.ndarray or torch.Tensor
            ``[samples]`` or ``[..., samples]``, all other axes are streams.
            Floating point, or int16 or int32 with their own full scale. NaN
            and infinity count as zero.

        Returns
        -------
        np.ndarray or torch.Tensor
            As ``block``: same type, shape, dtype and device.

        Raises
        ------
        phasen_sb.errors.UserError
            If the shape or dtype is not possible, or the streams are not
            those of the last block.
        """
        wave = to_channels(block)
        if self._like is not None and block.shape[:-1] != self._like.shape[:-1]:
            raise UserError(
                f"The block has the shape {list(block.shape)}, but the "
                f"streams are {list(self._like.shape[:-1])}; call reset() "
                "before others begin."
            )
        if wave.shape[1] % self.block_samples:
            raise UserError(
                f"The block has {wave.shape[1]} samples; they must be a "
                f"multiple of block_samples, {self.block_samples}."
            )
        if self._like is None:
            self._like = block[..., :0]
        wave = np.nan_to_num(wave, posinf=0.0, neginf=0.0)
        window = self.model.stft.window
        x = torch.from_numpy(wave).to(self._device(), window.dtype)
        if self._ready is None:
            self._ready = x.new_zeros(len(x), self.delay)
        self._samples += x.shape[1]
        self._synthesise(self._enhance(self._stft.process(x)))
        return self._take(x.shape[1], block)

    @torch.inference_mode()
    def flush(self) -> Wave:
        """Ends the signals, and returns their last ``delay`` samples.

        Then other signals can begin.

        Raises
        ------
        phasen_sb.errors.UserError
            If there was no block.
        """
        if self._like is None:
            raise UserError("There is no signal yet; process a block first.")
        self._synthesise(self._enhance(self._stft.finish()))
        silence = self._ready.new_zeros(
            len(self._ready),
            self.model.network.lookahead_frames,
            self.model.stft.n_fft // 2 + 1,
            2,
        )
        self._synthesise(self._enhance(silence))
        rest = self._istft.finish()
        # Windows may be too short to reach the end.
        self._append(F.pad(rest, (0, self.model.stft.hop_length)))
        out = self._take(self.delay, self._like)
        self.reset()
        return out

    def _device(self):
        return next(self.model.parameters()).device

    def _enhance(self, spectrogram):
        """Frames that are due once these ``[B, T, F, 2]`` have come."""
        count = spectrogram.shape[1]
        if not count:
            return spectrogram
        model = self.model
        if model.normalize == RUNNING:
            levels, self._level_state = model.follow_level(
                spectrogram, self._level_state
            )
            spectrogram = spectrogram / levels
            late = model.network.lookahead_frames
            if self._levels is None:
                self._levels = torch.ones_like(levels[:, :1]).repeat(
                    1, late, 1, 1
                )
            levels = torch.cat([self._levels, levels], 1)
            self._levels = levels[:, count:].clone()
        enhanced = self._engine.process(spectrogram)
        if model.normalize == RUNNING:
            enhanced = enhanced * levels[:, :count]
        early = min(count, self._early_frames)
        self._early_frames -= early
        return enhanced[:, early:]

    def _synthesise(self, spectrogram):
        self._append(self._istft.process(spectrogram))

    def _append(self, wave):
        early = min(wave.shape[1], self._early_samples)
        self._early_samples -= early
        self._ready = torch.cat([self._ready, wave[:, early:]], 1)

    def _take(self, samples, like):
        out, self._ready = self._ready.split(
            [samples, self._ready.shape[1] - samples], 1
        )
        self._ready = self._ready.clone()
        return from_signal(out.double().cpu().numpy().T, like)
