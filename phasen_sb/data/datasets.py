"""SpeechBrain data sets whose random draws survive a restart.

Every draw comes from a generator seeded with (seed, epoch, utterance id)
alone: neither the number of workers, nor the order of the utterances, nor
what was drawn before it matters. A training that was killed and resumed in
the middle of an epoch therefore sees the crops and mixtures it would have
seen.

Authors
 * The phasen_sb authors 2026
"""

import math
from operator import itemgetter
from pathlib import Path

import soundfile as sf
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.processing.signal_processing import (
    compute_amplitude,
    dB_to_amplitude,
)

from phasen_sb.data.manifest import read_manifest, read_record
from phasen_sb.errors import UserError
from phasen_sb.seeding import seeded_generator


def make_datasets(
    save_folder: str | Path,
    sample_rate: int = 16000,
    crop_seconds: float | None = None,
    seed: int = 0,
    epoch_counter=None,
) -> dict[str, DynamicItemDataset]:
    """Makes the three data sets from what a prepare function wrote.

    Training utterances are cropped at random, or taken whole where they are
    shorter, so batches are unequal; those of validation and test are whole
    and always the same.

    Arguments
    ---------
    save_folder : str or pathlib.Path
        Folder of the manifests.
    sample_rate : int
        The rate the network works at (Hz), as prepared.
    crop_seconds : float, optional
        Length of a training crop (s); whole utterances without it.
    seed : int
        Other seeds give other crops and mixtures in training.
    epoch_counter : speechbrain.utils.epoch_loop.EpochCounter, optional
        Its ``current`` is read whenever an item is loaded, which gives other
        crops and mixtures each epoch. Workers know the epoch in which they
        were started, so ``persistent_workers`` must not be set.

    Returns
    -------
    dict
        ``train``, ``valid`` and ``test``, each with the output keys ``id``,
        ``noisy_sig`` and ``clean_sig``: float32 tensors ``[samples]`` of equal
        length.

    Raises
    ------
    UserError
        If nothing was prepared, or at another rate, or the crop is empty.

    Example
    -------
    >>> from phasen_sb.data import prepare_data
    >>> folder = getfixture("tmp_path")
    >>> _ = prepare_data(folder)
    >>> datasets = make_datasets(folder, crop_seconds=1.0)
    >>> datasets["train"][0]["noisy_sig"].shape
    torch.Size([16000])
    """
    record = read_record(save_folder)
    if record["sample_rate"] != sample_rate:
        raise UserError(
            f"The data in {save_folder} was prepared at "
            f"{record['sample_rate']} Hz, but sample_rate is {sample_rate}; "
            "prepare it anew or change sample_rate."
        )
    crop = None
    if crop_seconds is not None:
        crop = round(crop_seconds * sample_rate)
        if crop < 1:
            raise UserError(
                f"crop_seconds is {crop_seconds}; give a positive length in "
                "seconds, or null for whole utterances."
            )
    root = record["data_root"]
    noises = {}
    if "noise" in record["splits"]:
        noises = read_manifest(save_folder, "noise", root)
    datasets = {}
    for split in ("train", "valid", "test"):
        draw = (
            RandomDraw(seed, epoch_counter) if split == "train" else FixedDraw()
        )
        crop_here = crop if split == "train" else None
        files = [
            (entry["noise_wav"], round(entry["length"] * sample_rate))
            for entry in noises.values()
            if split in entry["splits"]
        ]
        takes = ["id", "length", "noisy_wav", "clean_wav"]
        if files:
            mixes = record["source"] == "mix"
            load = (MixLoader if mixes else OtherNoiseLoader)(
                sample_rate,
                crop_here,
                draw,
                files,
                record["snr_low"],
                record["snr_high"],
            )
            if mixes:
                takes.remove("noisy_wav")
        else:
            load = PairLoader(sample_rate, crop_here, draw)
        datasets[split] = DynamicItemDataset(
            read_manifest(save_folder, split, root),
            dynamic_items=[
                {"func": load, "takes": takes, "provides": "pair"},
                {
                    "func": itemgetter(0),
                    "takes": "pair",
                    "provides": "noisy_sig",
                },
                {
                    "func": itemgetter(1),
                    "takes": "pair",
                    "provides": "clean_sig",
                },
            ],
            output_keys=["id", "noisy_sig", "clean_sig"],
        )
    return datasets


class RandomDraw:
    """Gives each utterance another generator in each epoch.

    Arguments
    ---------
    seed : int
        Seed of the training.
    epoch_counter : EpochCounter, optional
        Where the epoch is read.

    Example
    -------
    >>> draw = RandomDraw(seed=1)
    >>> draw("p226_001").initial_seed() == draw("p226_001").initial_seed()
    True
    """

    def __init__(self, seed: int, epoch_counter=None):
        self.seed = seed
        self.epoch_counter = epoch_counter

    def __call__(self, utterance: str) -> torch.Generator:
        """Makes the generator of one utterance.

        Arguments
        ---------
        utterance : str
            Its id.

        Returns
        -------
        torch.Generator
            Freshly seeded.
        """
        counter = self.epoch_counter
        epoch = 0 if counter is None else counter.current
        return seeded_generator(f"{self.seed} {epoch} {utterance}")


class FixedDraw:
    """Gives each utterance the same generator always, whatever the seed.

    Example
    -------
    >>> one, other = FixedDraw()("p226_001"), FixedDraw()("p226_001")
    >>> torch.rand((), generator=one) == torch.rand((), generator=other)
    tensor(True)
    """

    def __call__(self, utterance: str) -> torch.Generator:
        """Makes the generator of one utterance.

        Arguments
        ---------
        utterance : str
            Its id.

        Returns
        -------
        torch.Generator
            Freshly seeded.
        """
        return seeded_generator(utterance)


class PairLoader:
    """Reads the same part of a noisy and a clean file.

    Arguments
    ---------
    sample_rate : int
        Rate of the files (Hz).
    crop : int, optional
        Length of a random part (samples); the whole without it.
    draw : callable
        From utterance id to `torch.Generator`.
    """

    def __init__(self, sample_rate: int, crop: int | None, draw):
        self.sample_rate = sample_rate
        self.crop = crop
        self.draw = draw

    def __call__(
        self, utterance: str, length: float, noisy_wav: str, clean_wav: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reads one pair.

        Arguments
        ---------
        utterance : str
            Its id.
        length : float
            Length of the files (s).
        noisy_wav, clean_wav : str
            The files.

        Returns
        -------
        tuple of torch.Tensor
            Noisy and clean signal, each ``[samples]``.
        """
        start, count = _part(
            round(length * self.sample_rate), self.crop, self.draw(utterance)
        )
        return _read(noisy_wav, start, count), _read(clean_wav, start, count)


class MixLoader(PairLoader):
    """Reads a part of a clean file and adds noise to it.

    Arguments
    ---------
    sample_rate : int
        Rate of the files (Hz).
    crop : int, optional
        Length of a random part (samples); the whole without it.
    draw : callable
        From utterance id to `torch.Generator`.
    noises : list of (str, int)
        Noise files and their lengths (samples).
    snr_low, snr_high : float
        Range of the signal-to-noise ratio (dB), drawn uniformly.
    """

    def __init__(
        self,
        sample_rate: int,
        crop: int | None,
        draw,
        noises: list[tuple[str, int]],
        snr_low: float,
        snr_high: float,
    ):
        super().__init__(sample_rate, crop, draw)
        self.noises = noises
        self.snr_low = snr_low
        self.snr_high = snr_high

    def __call__(
        self, utterance: str, length: float, clean_wav: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Makes one mixture.

        Arguments
        ---------
        utterance : str
            Its id.
        length : float
            Length of the clean file (s).
        clean_wav : str
            The file.

        Returns
        -------
        tuple of torch.Tensor
            Noisy and clean signal, each ``[samples]``.
        """
        generator = self.draw(utterance)
        start, count = _part(
            round(length * self.sample_rate), self.crop, generator
        )
        clean = _read(clean_wav, start, count)
        path, available = self.noises[_integer(len(self.noises), generator)]
        if available >= count:
            start = _integer(available - count + 1, generator)
            noise = _read(path, start, count)
        else:
            start = _integer(available, generator)
            whole = _read(path, 0, available).roll(-start)
            noise = whole.repeat(math.ceil(count / available))[:count]
        position = torch.rand((), generator=generator).item()
        snr = self.snr_low + position * (self.snr_high - self.snr_low)
        return mix_at_snr(clean, noise, snr)


class OtherNoiseLoader(MixLoader):
    """Reads a pair, or its clean file with other noise.

    Pairs without noise get other noise always, half of the rest do.
    Arguments are those of `MixLoader`.
    """

    def __call__(
        self, utterance: str, length: float, noisy_wav: str, clean_wav: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Reads a pair or makes a mixture.

        Arguments
        ---------
        utterance : str
            Its id.
        length : float
            Length of the files (s).
        noisy_wav, clean_wav : str
            The files.

        Returns
        -------
        tuple of torch.Tensor
            Noisy and clean signal, each ``[samples]``.
        """
        # A generator of its own: the choice says nothing about the crop.
        generator = self.draw(f"{utterance} noise")
        if noisy_wav == clean_wav or torch.rand((), generator=generator) < 0.5:
            return super().__call__(utterance, length, clean_wav)
        return PairLoader.__call__(
            self, utterance, length, noisy_wav, clean_wav
        )


def mix_at_snr(
    clean: torch.Tensor, noise: torch.Tensor, snr: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Adds noise to speech at a signal-to-noise ratio.

    A mixture that exceeds full scale is turned down together with its clean
    part, as a recording engineer would. Silent speech stays silent and
    silent noise adds nothing.

    Arguments
    ---------
    clean, noise : torch.Tensor
        Signals ``[samples]`` of one length.
    snr : float
        Ratio of their powers (dB).

    Returns
    -------
    tuple of torch.Tensor
        Noisy and clean signal, each ``[samples]``.

    Example
    -------
    >>> clean, noise = torch.ones(4), torch.tensor([1.0, -1.0, 1.0, -1.0])
    >>> noisy, clean = mix_at_snr(0.1 * clean, noise, snr=20.0)
    >>> noisy
    tensor([0.1100, 0.0900, 0.1100, 0.0900])
    """
    speech_level = compute_amplitude(clean, amp_type="rms").squeeze()
    noise_level = compute_amplitude(noise, amp_type="rms").squeeze()
    wanted_level = speech_level / dB_to_amplitude(snr)
    # The floor is far below 24-bit resolution, so silence gets a gain of 0.
    gain = torch.where(
        noise_level > 1e-9, wanted_level / noise_level.clamp(min=1e-9), 0.0
    )
    noisy = clean + gain * noise
    peak = compute_amplitude(noisy, amp_type="peak").squeeze().clamp(min=1.0)
    return noisy / peak, clean / peak


def _part(
    total: int, crop: int | None, generator: torch.Generator
) -> tuple[int, int]:
    if crop is None or crop >= total:
        return 0, total
    return _integer(total - crop + 1, generator), crop


def _integer(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))


def _read(path: str, start: int, count: int) -> torch.Tensor:
    samples, _ = sf.read(path, frames=count, start=start, dtype="float32")
    if len(samples) != count:
        raise UserError(
            f"{path} has changed since it was prepared: samples {start} to "
            f"{start + count} are not there; prepare the data anew."
        )
    return torch.from_numpy(samples)
