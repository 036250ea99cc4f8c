"""Scaling laws: known constants are found again, and what supports no law is refused."""

import os
import sys

import numpy as np
import pytest

from pipeline.evaluation.scaling import (
    FORMS,
    Measured,
    ScalingError,
    fit,
    optimal,
    saturation,
)

# Kaplan et al., arXiv:2001.08361, eqs. 1.1 and 1.2
ALPHA_N, N_C = 0.076, 8.8e13
ALPHA_D, D_C = 0.095, 5.4e13
SIZES = np.array([1e6, 3e6, 1e7, 3e7, 1e8, 3e8])
DATA = np.array([2e7, 1e8, 5e8, 2e9])
NOISE = 0.01
DRAWS = int(os.environ.get("COSMOTRON_DRAWS", "20"))


def grid():
    n, d = np.meshgrid(SIZES, DATA)
    return n.ravel(), d.ravel()


def of_parameters(seed, noise=NOISE):
    n, d = grid()
    factor = np.exp(np.random.default_rng(seed).normal(0, noise, len(n)))
    return Measured(n, d, (N_C / n) ** ALPHA_N * factor)


def of_data(seed, noise=NOISE):
    n, d = grid()
    factor = np.exp(np.random.default_rng(seed).normal(0, noise, len(n)))
    return Measured(n, d, (D_C / d) ** ALPHA_D * factor)


def of_both(seed, noise=NOISE):
    n, d = grid()
    loss = ((N_C / n) ** (ALPHA_N / ALPHA_D) + D_C / d) ** ALPHA_D
    return Measured(n, d, loss * np.exp(np.random.default_rng(seed).normal(0, noise, len(n))))


def of_chinchilla(seed, noise=NOISE):
    """Hoffmann et al., arXiv:2203.15556, eq. 10."""
    n, d = grid()
    loss = 1.69 + 406.4 / n**0.34 + 410.7 / d**0.28
    return Measured(n, d, loss * np.exp(np.random.default_rng(seed).normal(0, noise, len(n))))


@pytest.mark.parametrize(
    ("law", "make", "expected"),
    [
        ("L(N)", of_parameters, {"αN": ALPHA_N, "Nc": N_C}),
        ("L(D)", of_data, {"αD": ALPHA_D, "Dc": D_C}),
        ("L(N, D)", of_both, {"αN": ALPHA_N, "αD": ALPHA_D, "Nc": N_C, "Dc": D_C}),
        ("Chinchilla", of_chinchilla, {"α": 0.34, "β": 0.28, "A": 406.4, "B": 410.7, "E": 1.69}),
    ],
)
def test_exact_points_give_the_constants_back(law, make, expected):
    found = fit(law, make(0, noise=0.0), resamples=1)
    values = {name: each.value for name, each in found.constants.items()}
    assert values == pytest.approx(expected, rel=1e-3)
    assert found.scatter < 1e-6


def covered(law, make, expected, draws, resamples=100):
    """In how many draws all constants lie in their intervals, by constant."""
    hits = dict.fromkeys(expected, 0)
    for seed in range(draws):
        found = fit(law, make(seed), seed=seed, resamples=resamples)
        for name, value in expected.items():
            hits[name] += found.constants[name].low <= value <= found.constants[name].high
    return hits


@pytest.mark.parametrize(
    ("law", "make", "expected"),
    [
        ("L(N)", of_parameters, {"αN": ALPHA_N, "Nc": N_C}),
        ("L(D)", of_data, {"αD": ALPHA_D, "Dc": D_C}),
        ("L(N, D)", of_both, {"αN": ALPHA_N, "αD": ALPHA_D}),
    ],
)
def test_intervals_hold_kaplan_s_constants(law, make, expected):
    """Of twenty draws here; COSMOTRON_DRAWS=100 takes a minute (docs/measured/scaling.md)."""
    hits = covered(law, make, expected, DRAWS, resamples=60 if DRAWS < 100 else 200)
    sys.stdout.write(f"{law}: of {DRAWS} draws {hits}\n")
    assert min(hits.values()) >= 0.85 * DRAWS


def test_a_point_that_is_far_off_does_not_move_the_fit():
    clean = of_parameters(1)
    loss = clean.loss.copy()
    loss[-1] *= 3  # the largest model diverged
    found = fit("L(N)", Measured(clean.parameters, clean.data, loss), resamples=1)
    assert found.constants["αN"].value == pytest.approx(ALPHA_N, rel=0.1)


def test_the_best_trade_is_chinchilla_s():
    """N and D of least loss for a budget, in closed form: arXiv:2203.15556, eq. 4."""
    found = fit("Chinchilla", of_chinchilla(0, noise=0.0), resamples=1)
    flops = 1e21
    g = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / (0.34 + 0.28))
    n, d = optimal(found, flops)
    assert n == pytest.approx(g * (flops / 6) ** (0.28 / 0.62), rel=0.01)
    assert 6 * n * d == pytest.approx(flops)


def test_a_law_of_one_says_nothing_of_the_trade():
    with pytest.raises(ScalingError, match="L\\(N\\): says nothing of the trade"):
        optimal(fit("L(N)", of_parameters(0), resamples=1), 1e20)


def test_saturation_is_seen_where_it_is_and_only_there():
    n, d = grid()
    rng = np.random.default_rng(3)
    flat = (1.0 + (1e5 / n) ** 0.8) * np.exp(rng.normal(0, 0.005, len(n)))
    told = saturation(Measured(n, d, flat))
    assert told.is_there
    assert told.share > 0.99
    assert not saturation(of_parameters(3)).is_there


@pytest.mark.parametrize("law", ["L(N)", "L(N, D)", "Chinchilla", "L(N) + L∞"])
def test_three_model_sizes_are_no_law(law):
    few = of_both(0)
    keep = few.parameters < 2e7
    some = Measured(few.parameters[keep], few.data[keep], few.loss[keep])
    with pytest.raises(ScalingError, match="3 model sizes, at least 4 are needed"):
        fit(law, some)


def test_three_data_sizes_are_no_law_of_data():
    few = of_both(0)
    keep = few.data < 1e9
    some = Measured(few.parameters[keep], few.data[keep], few.loss[keep])
    with pytest.raises(ScalingError, match="3 data sizes, at least 4 are needed"):
        fit("L(D)", some)


def test_fewer_measurements_than_constants_are_refused():
    n, d = SIZES[:4], DATA
    with pytest.raises(ScalingError, match="4 measurements, at least 6 are needed"):
        fit("Chinchilla", Measured(n, d, np.ones(4)))


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_what_has_no_logarithm_is_named(bad):
    loss = np.array([1.0, bad, 1.0, 1.0])
    with pytest.raises(ScalingError, match="loss: measurement 1 is"):
        Measured(SIZES[:4], DATA, loss)


def test_columns_of_two_lengths_are_refused():
    with pytest.raises(ScalingError, match="not of one length"):
        Measured(SIZES, DATA, np.ones(4))


def test_every_law_has_starts_of_its_constants():
    for form in FORMS.values():
        count = len(form.constants(np.array(form.starts[0])))
        assert {len(start) for start in form.starts} == {count}
