r"""Five things a network may predict, and how each is turned into any other.

At one time t a noisy sample is $x = \alpha x_0 + \sigma\varepsilon$. Given x, any one of the following fixes all:

| name | value |
| --- | --- |
| `eps` | $\varepsilon$, the noise |
| `x0` | $x_0$, the clean sample |
| `score` | $-\varepsilon/\sigma$; its conditional mean is $\nabla_x\log p_t(x)$ |
| `v` | $\alpha\varepsilon - \sigma x_0$ (Salimans & Ho 2022) |
| `velocity` | $\dot x = \alpha' x_0 + \sigma'\varepsilon$ (Lipman et al. 2023) |
"""

import jax.numpy as jnp

from diffbook._checks import require, require_choice, require_floating
from diffbook.generative.schedules import Schedule, derivatives, per_sample

TARGETS = ("eps", "x0", "v", "score", "velocity")


def _coefficients(x, t, schedule):
    """alpha, sigma, alpha', sigma' shaped to multiply x. sigma' = var'/(2 sigma) is NaN or infinite at t = 0."""
    alpha, dalpha, var, dvar = derivatives(schedule, jnp.asarray(t, x.dtype))
    sigma = jnp.sqrt(var)
    return tuple(per_sample(c, x) for c in (alpha, sigma, dalpha, dvar / (2 * sigma)))


def target(x0, eps, t, schedule: Schedule, predict: str):
    """What a network that predicts `predict` is asked for, given the clean sample and the noise.

    Args:
      x0, eps: shape (n, ...).  t: scalar or (n,), t > 0 for "score" and "velocity".  predict: one of `TARGETS`.
    Returns: array like x0.
    Raises: ValueError: for an unknown `predict` or shapes that do not fit.
    """
    require_choice(predict, TARGETS, "predict", "target")
    x0 = require_floating(x0, "x0", "target")
    require(eps.shape == x0.shape, f"target needs eps like x0, got {eps.shape} for {x0.shape}; draw it in x0's shape")
    alpha, sigma, dalpha, dsigma = _coefficients(x0, t, schedule)
    if predict == "eps":
        return eps
    if predict == "x0":
        return x0
    if predict == "v":
        return alpha * eps - sigma * x0
    if predict == "score":
        return -eps / sigma
    return dalpha * x0 + dsigma * eps


def x0_and_eps(value, x, t, schedule: Schedule, predict: str):
    """The clean sample and the noise that `value` of kind `predict` amounts to at the noisy sample x.

    Args:
      value, x: shape (n, ...).  t: scalar or (n,). With t -> 0 "x0" leaves the noise, and with alpha -> 0 "eps" and
        "score" leave the clean sample, undetermined: the division gives infinity or NaN there.
    Returns: (x0, eps), each like x.
    """
    require_choice(predict, TARGETS, "predict", "x0_and_eps")
    x = require_floating(x, "x", "x0_and_eps")
    require(
        value.shape == x.shape, f"a prediction needs the shape of x, got {value.shape} for {x.shape}; check the network"
    )
    alpha, sigma, dalpha, dsigma = _coefficients(x, t, schedule)
    if predict == "x0":
        return value, (x - alpha * value) / sigma
    if predict == "v":
        norm = alpha**2 + sigma**2
        return (alpha * x - sigma * value) / norm, (sigma * x + alpha * value) / norm
    if predict == "velocity":
        det = alpha * dsigma - sigma * dalpha  # Wronskian of the two paths, > 0 for t > 0
        return (dsigma * x - sigma * value) / det, (alpha * value - dalpha * x) / det
    eps = value if predict == "eps" else -sigma * value
    return (x - sigma * eps) / alpha, eps


def convert(value, x, t, schedule: Schedule, *, source: str, to: str):
    r"""A prediction of one kind as another, e.g. noise as score: $s = -\varepsilon/\sigma$.

    All five are affine in one another at fixed (x, t), so what holds for a sample holds for conditional means.

    Args:
      value: what a network returned, shape (n, ...).  x: the noisy sample, same shape.
      t: scalar or (n,).  source, to: of `TARGETS`.
    Returns: array like x.
    Raises: ValueError: for an unknown kind or shapes that do not fit.

    >>> from diffbook.generative.schedules import straight
    >>> x, eps = jnp.array([2.0]), jnp.array([3.0])
    >>> convert(eps, x, 0.5, straight(), source="eps", to="score")
    Array([-6.], dtype=float32)
    """
    require_choice(to, TARGETS, "to", "convert")
    if source == to:
        require_choice(source, TARGETS, "source", "convert")
        return value
    x0, eps = x0_and_eps(value, x, t, schedule, source)
    return target(x0, eps, t, schedule, to)
