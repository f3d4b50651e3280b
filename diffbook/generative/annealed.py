"""Langevin steps at falling noise levels: sampling with a score that is known at each of them."""

import jax.numpy as jnp
from jax.tree_util import Partial

from diffbook._checks import require, require_count, require_floating, require_positive, static_value
from diffbook.sde import SDE


def annealed_langevin(score, sigmas, *, step_size: float, steps_per_level: int) -> SDE:
    r"""Annealed Langevin sampling as one SDE on the clock k that counts its steps,
    $dx = \tfrac{h_k}{2}\, s(x, \sigma_k)\,dk + \sqrt{h_k}\,dW$ with $h_k = \epsilon\, \sigma_k^2$.

    Euler-Maruyama with dk = 1 is the published algorithm. Each level stays for `steps_per_level` steps; the noise of a
    step is a fixed fraction of the level's, so that what is as wide as the noise settles in as many steps at every
    level. What is wider moves more slowly, and has to have settled before.

    Args:
      score: s(x, sigma), like x: gradient of log p_sigma, data blurred by Gaussian noise of variance sigma**2.
      sigmas: noise levels, shape (levels,), falling, > 0, in units of the data.
      step_size: epsilon, none; the last level's step is epsilon * sigmas[-1]**2. Steps above 4 are unstable where
        the data are narrower than the noise.
      steps_per_level: T.
    Returns: an SDE to be simulated on jnp.arange(levels * T + 1.0), from anything as wide as sigmas[0].
    Raises: ValueError: unless the levels fall and are positive, and 0 < step_size < 4.
    References: Song & Ermon 2019, algorithm 1 (whose epsilon is this one times sigmas[-1]**2).

    >>> import jax
    >>> from diffbook.sde import simulate
    >>> sde = annealed_langevin(lambda x, s: -x / (1 + s**2), jnp.array([3.0, 1.0, 0.3]), step_size=0.1,
    ...                         steps_per_level=1000)                         # of N(0, 1) data
    >>> x = simulate(sde, jnp.zeros(10_000), jnp.arange(3001.0), key=jax.random.key(0), save="last")
    >>> f"{x.var():.1f}"
    '1.1'
    """
    sigmas = require_floating(sigmas, "sigmas", "annealed_langevin")
    levels = static_value(sigmas)
    require(
        sigmas.ndim == 1
        and sigmas.size > 0
        and (levels is None or bool((levels > 0).all() and (levels[1:] < levels[:-1]).all())),
        f"annealed_langevin needs falling noise levels > 0, got sigmas={sigmas}; take e.g. jnp.geomspace(10, 0.1, 20)",
    )
    require_positive(step_size, "step_size", "annealed_langevin", "take e.g. 0.1")
    step = static_value(step_size)
    require(
        step is None or step < 4, f"annealed_langevin needs step_size < 4, got {step_size=}; larger steps overshoot"
    )
    steps = require_count(steps_per_level, "steps_per_level", "annealed_langevin", 1)
    return SDE(Partial(_pull, score, sigmas, step_size, steps), Partial(_shake, sigmas, step_size, steps))


def _level(sigmas, steps, k):
    """The noise level of step k. The half keeps the quotient of two integers off the edges between levels."""
    place = jnp.floor((k + 0.5) / steps).astype(int)
    return sigmas[jnp.clip(place, 0, len(sigmas) - 1)]


def _pull(score, sigmas, step_size, steps, x, k):
    sigma = _level(sigmas, steps, k)
    return (0.5 * step_size * sigma**2).astype(x.dtype) * score(x, sigma)


def _shake(sigmas, step_size, steps, x, k):
    return jnp.full_like(x, jnp.sqrt(step_size) * _level(sigmas, steps, k))
