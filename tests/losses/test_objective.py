"""Objectives: any loss, on its domain, in one YAML entry."""

import json
from functools import partial

import pytest
import torch
from helpers.recipe_process import TINY
from hyperpyyaml import load_hyperpyyaml
from speechbrain.nnet.loss.si_snr_loss import si_snr_loss
from speechbrain.nnet.loss.stoi_loss import stoi_loss
from speechbrain.nnet.losses import l1_loss, mse_loss

from phasen_sb import ConvSTFT, compressed_complex_loss, pesq_loss
from phasen_sb.configuration.recipe import Recipe
from phasen_sb.errors import UserError
from phasen_sb.losses.objective import Objective

STFT = ConvSTFT(16000)


def signals(batch=2, samples=8000):
    noise = torch.randn(2, batch, samples, generator=torch.manual_seed(0))
    clean = noise[0]
    return clean + 0.3 * noise[1], clean


def spectrum(x):
    return STFT(x)


def magnitude(x):
    return spectrum(x).norm(dim=-1)


def log_magnitude(x):
    return torch.log1p(magnitude(x))


VIEWS = {
    "waveform": lambda x: x,
    "spectrum": spectrum,
    "magnitude": magnitude,
    "log_magnitude": log_magnitude,
    "consistent_spectrum": spectrum,
}


@pytest.mark.parametrize("domain", VIEWS)
@pytest.mark.parametrize("loss", [mse_loss, l1_loss])
def test_each_domain_is_what_its_name_says(loss, domain):
    wave, clean = signals()
    found, terms = Objective(a={"loss": loss, "domain": domain})(
        wave, None, clean, None, STFT
    )
    view = VIEWS[domain]
    torch.testing.assert_close(found, loss(view(wave), view(clean)))
    assert terms == {}


@pytest.mark.parametrize("domain", VIEWS)
def test_padding_does_not_count(domain):
    wave, clean = signals(1)
    wave, clean = wave.clone(), clean.clone()
    lengths = torch.tensor([0.5])
    objective = Objective(a={"loss": mse_loss, "domain": domain})
    alone, _ = objective(
        wave[:, :4000], None, clean[:, :4000], torch.ones(1), STFT
    )
    wave[:, 4000:] = clean[:, 4000:] = 0.0
    noise = STFT(clean).clone()
    noise[:, 41:] = 7.0  # what a network might leave past the end
    target = STFT(wave)
    target[:, 41:] = noise[:, 41:]
    wave[:, 4000:] = 9.0
    spectrogram = target if domain != "waveform" else None
    found, _ = objective(wave, spectrogram, clean, lengths, STFT)
    torch.testing.assert_close(found, alone)


def test_consistent_spectrum_is_that_of_the_waveform():
    wave, clean = signals()
    cancelling = torch.randn(STFT(wave).shape)  # what the network gave
    found, _ = Objective(
        a={"loss": mse_loss, "domain": "consistent_spectrum"},
        b={"loss": mse_loss, "domain": "spectrum", "weight": 0.0},
    )(wave, cancelling, clean, None, STFT)
    torch.testing.assert_close(found, mse_loss(STFT(wave), STFT(clean)))


@pytest.mark.parametrize("loss", [stoi_loss, si_snr_loss, pesq_loss])
def test_bare_waveform_losses_find_their_domain(loss):
    wave, clean = signals()
    objective = Objective.wrap(loss)
    # No spectrum is computed where none is compared.
    found, _ = objective(wave, None, clean, None, stft=None)
    torch.testing.assert_close(found, loss(wave, clean, torch.ones(2)))
    assert found != 0


def test_default_loss_is_what_it_was():
    wave, clean = signals()
    lengths = torch.tensor([1.0, 0.6])
    network = STFT(wave) * 1.1
    found, terms = Objective.wrap(compressed_complex_loss)(
        wave, network, clean, lengths, STFT
    )
    frames = torch.tensor([81, 49]) / 81
    expected, parts = compressed_complex_loss(
        network, STFT(clean), frames, return_terms=True
    )
    assert torch.equal(found, expected) and terms == parts


class Module(torch.nn.Module):
    def forward(self, predictions, targets, length=None):
        return mse_loss(predictions, targets, length)


class ModuleWithTerms(torch.nn.Module):
    def forward(self, predictions, targets, length, return_terms=False):
        assert return_terms
        loss = mse_loss(predictions, targets, length)
        return loss, {"half": loss / 2}


def with_any_options(predictions, targets, length, **options):
    return mse_loss(predictions, targets, length, **options)


@pytest.mark.parametrize("loss", [Module(), with_any_options])
def test_only_losses_that_offer_terms_are_asked_for_them(loss):
    wave, clean = signals()
    found, terms = Objective.wrap(loss)(wave, None, clean, None, STFT)
    torch.testing.assert_close(found, mse_loss(STFT(wave), STFT(clean)))
    assert terms == {}
    again, terms = Objective.wrap(ModuleWithTerms())(
        wave, None, clean, None, STFT
    )
    assert again == found and terms == {"half": found / 2}


def test_weighted_sum_names_its_terms():
    wave, clean = signals()
    wave.requires_grad_()
    objective = Objective(
        phasen={"loss": compressed_complex_loss},
        stoi={"loss": stoi_loss, "weight": 0.25},
        l1={"loss": l1_loss, "domain": "magnitude", "weight": 2},
    )
    found, terms = objective(wave, None, clean, None, STFT)
    assert set(terms) == {
        "phasen",
        "phasen_amplitude",
        "phasen_phase",
        "stoi",
        "l1",
    }
    expected = terms["phasen"] + 0.25 * terms["stoi"] + 2 * terms["l1"]
    torch.testing.assert_close(found.detach(), expected)
    found.backward()
    assert wave.grad.isfinite().all() and wave.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "terms, message",
    [
        ({}, "at least one"),
        ({"a": mse_loss}, "a of the objective lacks its loss"),
        ({"a": {"domain": "waveform"}}, "lacks its loss"),
        ({"a": {"loss": mse_loss, "wieght": 1}}, "'wieght'.*loss, domain"),
        ({"a": {"loss": mse_loss, "domain": "wave"}}, "'wave'.*waveform"),
        ({"a": {"loss": mse_loss}, "loss": {"loss": mse_loss}}, "named 'loss'"),
        (
            {"a": {"loss": mse_loss}, "skipped_steps": {"loss": mse_loss}},
            "named 'skipped_steps'",
        ),
    ],
)
def test_mistakes_are_named(terms, message):
    with pytest.raises((ValueError, UserError), match=message):
        Objective(**terms)


ENTRIES = {
    "stoi": "!name:speechbrain.nnet.loss.stoi_loss.stoi_loss",
    "si_snr": "!name:speechbrain.nnet.loss.si_snr_loss.si_snr_loss",
    "mse": "!name:speechbrain.nnet.losses.mse_loss",
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_one_entry_on_the_command_line(entry, tmp_path):
    settings = json.dumps({"output_folder": str(tmp_path)})[:-1]
    text = f"{settings}, network: {TINY}, compute_cost: {ENTRIES[entry]} }}"
    hparams = Recipe.read("hparams/phasen.yaml", text).load()
    wave, clean = signals()
    stft = hparams["compute_stft"]
    found, _ = Objective.wrap(hparams["compute_cost"])(
        wave, stft(wave), clean, None, stft
    )
    assert found.isfinite()


def test_weighted_sum_in_yaml():
    objective = load_hyperpyyaml(
        """
        compute_cost: !new:phasen_sb.Objective
            compressed:
                loss: !name:phasen_sb.compressed_complex_loss
                    power: 0.5
            si_snr:
                loss: !name:speechbrain.nnet.loss.si_snr_loss.si_snr_loss
                weight: 0.01
        """
    )["compute_cost"]
    wave, clean = signals()
    _, terms = objective(wave, None, clean, None, STFT)
    assert {"compressed", "compressed_phase", "si_snr"} <= set(terms)
    assert [weight for _, _, weight in objective.terms.values()] == [1, 0.01]


def test_losses_are_named_unless_they_weigh_nothing():
    losses = {
        "a": {"loss": partial(compressed_complex_loss, power=0.5)},
        "b": {"loss": si_snr_loss, "weight": 0.1},
        "c": {"loss": stoi_loss, "weight": 0},
        "d": {"loss": torch.nn.L1Loss()},
    }
    names = ["compressed_complex_loss", "si_snr_loss", "L1Loss"]
    assert Objective(**losses).losses == names
