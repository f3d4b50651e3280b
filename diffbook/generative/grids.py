"""Where to put the few steps of a sampler: noise levels, and the times at which a schedule has them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from diffbook._checks import require, require_count, require_floating
from diffbook.generative.schedules import Schedule


def edm_sigmas(
    num: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> Float[Array, " levels"]:
    r"""Noise levels evenly spaced in $\sigma^{1/\rho}$ from `sigma_max` down to `sigma_min`, and then 0.

    Args:
      num: levels above 0, >= 2.  sigma_min, sigma_max: the ends, in units of the data.
      rho: 1 spaces evenly; the larger, the denser where there is little noise; infinity is even in log(sigma).
    Returns: shape (num + 1,), falling, the last one 0: `num` steps.
    Raises: ValueError: unless 0 < sigma_min < sigma_max, rho > 0, num >= 2.
    References: Karras et al. 2022, eq. (5).

    >>> [f"{s:.3g}" for s in edm_sigmas(5)]
    ['80', '17.5', '2.52', '0.17', '0.002', '0']
    """
    num = require_count(num, "num", "edm_sigmas", 2)
    require(
        0 < sigma_min < sigma_max < np.inf and rho > 0,
        f"edm_sigmas needs 0 < sigma_min < sigma_max and rho > 0, got {sigma_min=}, {sigma_max=}, {rho=}; published: "
        "0.002, 80 and 7",
    )
    if rho == np.inf:
        sigmas = np.geomspace(sigma_max, sigma_min, num)
    else:
        sigmas = np.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), num) ** rho
    return jnp.asarray(np.append(sigmas, 0.0), float)


def times_of_noise(schedule: Schedule, sigmas) -> Float[Array, " num"]:
    r"""The times at which noise stands to signal as `sigmas`, $\sigma(t)/\alpha(t) = \hat\sigma$, by bisection.

    Args:
      schedule: with $\sigma/\alpha$ rising.
      sigmas: shape (num,), >= 0. At 0 the time is exactly 0, and beyond the schedule's reach 1.
    Returns: times, shape (num,). In float32 the finest levels are told apart no better than t is.

    >>> from diffbook.generative.schedules import straight
    >>> [f"{t:.3f}" for t in times_of_noise(straight(), jnp.array([1.0, 0.25, 0.0]))]     # sigma / alpha = t / (1 - t)
    ['0.500', '0.200', '0.000']
    """
    sigmas = require_floating(sigmas, "sigmas", "times_of_noise")
    return _bisect(schedule, jnp.pad(sigmas, (0, -len(sigmas) % 64)))[: len(sigmas)]  # compiled once, not per length


@partial(jax.jit, static_argnames="schedule")
def _bisect(schedule, sigmas):
    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        noisy = jnp.sqrt(schedule.var(middle)) > sigmas * schedule.alpha(middle)
        return jnp.where(noisy, low, middle), jnp.where(noisy, middle, high)

    low, high = lax.fori_loop(0, 64, halve, (jnp.zeros_like(sigmas), jnp.ones_like(sigmas)))
    return jnp.where(sigmas > 0, jnp.where(high < 1, (low + high) / 2, 1.0), 0.0)
