"""Scaling laws: how a loss falls with parameters and data, by least squares on its logarithm.

Axes: M measurements. N are parameters, D the events or tokens trained on, C the FLOPs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Law = Callable[[Floats, Floats, Floats], Any]  # (parameters, ln N, ln D) -> ln L (M)

LEAST_SIZES = 4  # of what the law is in: below that a power law fits anything
TUNING = 1.345  # standard deviations beyond which a residual counts linearly (Huber 1981, §4.5)
MAD = 1.4826  # of a normal distribution: its deviation over the median of absolute deviations
EVALUATIONS = 1000  # of a law, at most, until its fit is good enough
EXPONENTS = (-10.0, 2.0)  # logarithms, beyond which a law is no law
LARGEST = 700.0  # logarithm of a number that is still one
RESAMPLES = 200
LEVEL = 95  # per cent, of the intervals
MOST_LEVERAGE = 0.9  # of one measurement, where it decides a constant alone


class ScalingError(ValueError):
    """The measurements do not support a fit; the message says what is missing."""


@dataclass(frozen=True)
class Measured:
    """Losses L (M) of models of N parameters (M), each trained on D events or tokens (M)."""

    parameters: Floats
    data: Floats
    loss: Floats

    def __post_init__(self) -> None:
        """Check that there is something to take logarithms of."""
        columns = (self.parameters, self.data, self.loss)
        if len({len(each) for each in columns}) != 1:
            message = "parameters, data and losses are not of one length"
            raise ScalingError(message)
        for name, each in zip(("parameters", "data", "loss"), columns, strict=True):
            bad = np.flatnonzero(~(np.isfinite(each) & (each > 0)))
            if len(bad):
                message = f"{name}: measurement {bad[0]} is {each[bad[0]]}; it has no logarithm"
                raise ScalingError(message)


@dataclass(frozen=True)
class Constant:
    """A constant of a law with its interval of `LEVEL` per cent."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """A law fitted to measurements: its constants by name, and how far off it is.

    `scatter` is the standard deviation of ln L about it; `predict` takes N and D.
    """

    law: str
    constants: dict[str, Constant]
    scatter: float
    predict: Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class _Form:
    """A law in logarithms: its function, its starts, what is varied, and its constants' logarithms.

    The first `exponents` parameters are exponents, the others logarithms.
    """

    law: str
    function: Law
    starts: Sequence[Sequence[float]]
    constants: Callable[[Floats], dict[str, float]]  # their logarithms
    in_parameters: bool
    in_data: bool
    exponents: int


def _power(p: Floats, log_x: Floats) -> Any:
    """Return ln (xc/x)^α, p = (α, α ln xc)."""
    return p[1] - p[0] * log_x


def _of_one(name: str, constant: str, exponent: str, *, floor: bool, data: bool) -> _Form:
    """Return the form L(x) = (xc/x)^α of N or D, with or without an irreducible loss."""

    def function(p: Floats, log_n: Floats, log_d: Floats) -> Any:
        power = _power(p, log_d if data else log_n)
        return np.logaddexp(power, p[2]) if floor else power

    def constants(p: Floats) -> dict[str, float]:
        found = {exponent: np.log(p[0]), constant: p[1] / p[0]}
        return found | ({"L∞": p[2]} if floor else {})

    starts: list[tuple[float, ...]] = [(a, 20.0 * a) for a in (0.05, 0.1, 0.3)]
    if floor:
        starts = [(*start, log) for start in starts for log in (-3.0, 0.0)]
    return _Form(
        name, function, starts, constants, in_parameters=not data, in_data=data, exponents=1
    )


def _joint(p: Floats, log_n: Floats, log_d: Floats) -> Any:
    """Return ln [(Nc/N)^(αN/αD) + Dc/D]^αD, p = (αN, αD, ln Nc, ln Dc)."""
    ratio = p[0] / p[1]
    return p[1] * np.logaddexp(ratio * (p[2] - log_n), p[3] - log_d)


def _chinchilla(p: Floats, log_n: Floats, log_d: Floats) -> Any:
    """Return ln (E + A/N^α + B/D^β), p = (α, β, ln A, ln B, ln E)."""
    model = np.logaddexp(p[2] - p[0] * log_n, p[3] - p[1] * log_d)
    return np.logaddexp(model, p[4])


# Kaplan et al., arXiv:2001.08361, eqs. 1.1, 1.2 and 1.5; Hoffmann et al., arXiv:2203.15556, eq. 2.
FORMS = {
    "L(N)": _of_one("L(N)", "Nc", "αN", floor=False, data=False),
    "L(N) + L∞": _of_one("L(N) + L∞", "Nc", "αN", floor=True, data=False),
    "L(D)": _of_one("L(D)", "Dc", "αD", floor=False, data=True),
    "L(D) + L∞": _of_one("L(D) + L∞", "Dc", "αD", floor=True, data=True),
    "L(N, D)": _Form(
        "L(N, D)",
        _joint,
        [(a, b, 30.0, 30.0) for a in (0.05, 0.1, 0.3) for b in (0.05, 0.1, 0.3)],
        lambda p: {"αN": np.log(p[0]), "αD": np.log(p[1]), "Nc": p[2], "Dc": p[3]},
        in_parameters=True,
        in_data=True,
        exponents=2,
    ),
    "Chinchilla": _Form(
        "Chinchilla",
        _chinchilla,
        [
            (a, b, a * 15, b * 15, floor)
            for a in (0.2, 0.5)
            for b in (0.2, 0.5)
            for floor in (-3.0, 0.0)
        ],
        lambda p: {"α": np.log(p[0]), "β": np.log(p[1]), "A": p[2], "B": p[3], "E": p[4]},
        in_parameters=True,
        in_data=True,
        exponents=2,
    ),
}


def fit(law: str, measured: Measured, *, seed: int = 0, resamples: int = RESAMPLES) -> Fit:
    """Return a law fitted to the measurements.

    Least squares of ln L, where residuals beyond `TUNING` deviations count linearly, from several
    starts. Intervals are of a wild bootstrap: each residual, made larger by its leverage (HC3 of
    MacKinnon and White, J. Econometrics 29, 1985, p. 305), is taken with a sign by lot (Wu, Ann.
    Statistics 14, 1986, p. 1261), and the law is fitted again.

    Args:
        law: A key of `FORMS`.
        measured: What was measured.
        seed: Of the signs.
        resamples: How often it is fitted again.

    Raises:
        ScalingError: There are fewer than `LEAST_SIZES` sizes of what the law is in, or fewer
            measurements than it has constants and one more.
    """
    form = FORMS[law]
    log_n, log_d, log_loss = (
        np.log(each) for each in (measured.parameters, measured.data, measured.loss)
    )
    _check(form, log_n, log_d)
    best = _best(form, log_n, log_d, log_loss)
    fitted = form.function(best, log_n, log_d)
    residuals = (log_loss - fitted) / (1 - _leverages(form, best, log_n, log_d))
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(resamples):
        signs = rng.choice((-1.0, 1.0), len(log_loss))
        again = _solve(form, best, log_n, log_d, fitted + signs * residuals)
        draws.append(form.constants(again))
    values, free = form.constants(best), _freedom(form, best, log_n, log_d)
    return Fit(
        law=law,
        constants={
            name: _constant(value, [each[name] for each in draws], free[name])
            for name, value in values.items()
        },
        scatter=float(np.sqrt(np.sum((log_loss - fitted) ** 2) / (len(log_loss) - len(best)))),
        predict=lambda n, d: np.exp(form.function(best, np.log(n), np.log(d))),
    )


def _constant(log: float, drawn: Sequence[float], free: float) -> Constant:
    """Return a constant with its interval: all are positive, so it is even in the logarithm.

    Student's t of `free` degrees allows for a deviation estimated from few measurements.
    """
    from scipy.stats import t

    spread = float(np.std(drawn)) * float(t.ppf(0.5 + LEVEL / 200, free))
    bounds = np.clip([log, log - spread, log + spread], -LARGEST, LARGEST)
    return Constant(*(float(each) for each in np.exp(bounds)))


def _check(form: _Form, log_n: Floats, log_d: Floats) -> None:
    """Refuse what no such law can be seen in."""
    for wanted, name, values in (
        (form.in_parameters, "model sizes", log_n),
        (form.in_data, "data sizes", log_d),
    ):
        sizes = len(np.unique(values))
        if wanted and sizes < LEAST_SIZES:
            message = f"{form.law}: {sizes} {name}, at least {LEAST_SIZES} are needed for a law"
            raise ScalingError(message)
    least = len(form.starts[0]) + 1
    if len(log_n) < least:
        message = f"{form.law}: {len(log_n)} measurements, at least {least} are needed"
        raise ScalingError(message)


def _best(form: _Form, log_n: Floats, log_d: Floats, log_loss: Floats) -> Floats:
    """Return the best parameters from all starts."""
    found = [_solve(form, np.array(start), log_n, log_d, log_loss) for start in form.starts]
    costs = [np.sum(np.abs(form.function(p, log_n, log_d) - log_loss)) for p in found]
    return found[int(np.argmin(costs))]


def _solve(form: _Form, start: Floats, log_n: Floats, log_d: Floats, log_loss: Floats) -> Floats:
    """Return the parameters of least squares, robust against what lies far off.

    Exponents are positive: their logarithms are looked for.
    """
    from scipy.optimize import least_squares  # takes a while to load

    def parameters(x: Floats) -> Floats:
        exponents = np.exp(np.clip(x[: form.exponents], *EXPONENTS))
        return np.concatenate([exponents, x[form.exponents :]])

    def residuals(x: Floats) -> Any:
        return form.function(parameters(x), log_n, log_d) - log_loss

    first = np.concatenate([np.log(start[: form.exponents]), start[form.exponents :]])
    plain = least_squares(residuals, first, x_scale="jac", max_nfev=EVALUATIONS)
    scale = MAD * float(np.median(np.abs(plain.fun)))
    if scale < np.finfo(float).eps:
        return parameters(plain.x)
    robust = least_squares(
        residuals,
        plain.x,
        loss="huber",
        f_scale=TUNING * scale,
        x_scale="jac",
        max_nfev=EVALUATIONS,
    )
    return parameters(robust.x)


def _leverages(form: _Form, p: Floats, log_n: Floats, log_d: Floats) -> Floats:
    """Return how much each measurement draws the fit to itself (M), below one."""
    basis, _ = np.linalg.qr(_slopes(form, p, log_n, log_d))
    return np.asarray(np.minimum(np.sum(basis**2, axis=1), MOST_LEVERAGE))


def _slopes(form: _Form, p: Floats, log_n: Floats, log_d: Floats) -> Floats:
    """Return the derivative of ln L of each measurement by each parameter (M, P)."""
    from scipy.optimize import approx_fprime

    found: Floats = approx_fprime(p, lambda each: form.function(each, log_n, log_d), 1e-6)
    return found


def _freedom(form: _Form, p: Floats, log_n: Floats, log_d: Floats) -> dict[str, float]:
    """Return the degrees of freedom of the deviation of each constant.

    Few measurements decide a constant, those at the ends, so its deviation is known less well than
    M - P would have it: Bell and McCaffrey, Survey Methodology 28, 2002, p. 169; Imbens and
    Kolesár, Rev. Econ. Stat. 98, 2016, p. 701.
    """
    from scipy.optimize import approx_fprime

    slopes = _slopes(form, p, log_n, log_d)
    inverse = np.linalg.pinv(slopes)
    left = np.eye(len(log_n)) - slopes @ inverse
    leverages = np.minimum(1 - np.diag(left), MOST_LEVERAGE)
    free = {}
    for name in form.constants(p):
        slope = approx_fprime(p, lambda each, name=name: form.constants(each)[name], 1e-6)
        weighed = (slope @ inverse / (1 - leverages))[:, None] * left
        square = weighed @ weighed.T
        free[name] = float(np.trace(square) ** 2 / np.sum(square**2)) if np.any(square) else 1.0
    return free


def optimal(found: Fit, flops: float, *, flops_per_sample: float = 6.0) -> tuple[float, float]:
    """Return (N, D) of the least loss for C = `flops_per_sample` × N × D FLOPs, by a law of both.

    Six a parameter and token: Kaplan et al., §2.1.

    Raises:
        ScalingError: The law is of one of them alone.
    """
    from scipy.optimize import minimize_scalar

    form = FORMS[found.law]
    if not (form.in_parameters and form.in_data):
        message = f"{found.law}: says nothing of the trade between model and data"
        raise ScalingError(message)
    product = flops / flops_per_sample

    def loss(log_n: float) -> float:
        n = np.array([np.exp(log_n)])
        return float(found.predict(n, product / n)[0])

    best = minimize_scalar(loss, bounds=(0.0, float(np.log(product))), method="bounded")
    n = float(np.exp(best.x))
    return n, product / n


@dataclass(frozen=True)
class Saturation:
    """How much better a law with an irreducible loss explains the measurements, and its share.

    `share` is that of the irreducible loss in the loss at the largest size.
    """

    gain: float
    share: float

    @property
    def is_there(self) -> bool:
        """Whether the law without it has next to no support, and it makes up most of the loss.

        A difference above ten in AIC: Burnham and Anderson, Model Selection, 2nd ed., p. 70.
        """
        return self.gain > 10 and self.share > 0.9


def saturation(measured: Measured, of: str = "L(N)") -> Saturation:
    """Return whether the loss has stopped to fall with N, or with D (`of` "L(D)").

    Raises:
        ScalingError: See `fit`.
    """
    plain, floored = fit(of, measured, resamples=1), fit(f"{of} + L∞", measured, resamples=1)
    count = len(measured.loss)
    ends = [count * np.log(max(_variance(each, measured), 1e-30)) for each in (plain, floored)]
    largest = float(np.max(measured.parameters)), float(np.max(measured.data))
    there = floored.predict(np.array([largest[0]]), np.array([largest[1]]))[0]
    return Saturation(
        gain=float(ends[0] - ends[1] - 2),
        share=float(floored.constants["L∞"].value / there),
    )


def _variance(found: Fit, measured: Measured) -> float:
    """Return the mean square of the residuals in ln L."""
    predicted = found.predict(measured.parameters, measured.data)
    return float(np.mean((np.log(measured.loss) - np.log(predicted)) ** 2))
