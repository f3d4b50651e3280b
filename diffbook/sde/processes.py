r"""The processes the book meets, each an `SDE` with its parameters.

A parameter is a number or an array that broadcasts against x from the right (one per coordinate, say); it may be
traced, and changing its value costs no new compilation.
"""

import jax.numpy as jnp
from jax.tree_util import Partial

from diffbook._checks import require_finite, require_nonnegative
from diffbook.sde.process import SDE, zero


def _like(parameter, x):
    return jnp.broadcast_to(jnp.asarray(parameter, x.dtype), x.shape)


def _constant(value, x, t):
    return _like(value, x)


def _free(diffusivity, x, t):
    return _like(jnp.sqrt(2 * jnp.asarray(diffusivity, x.dtype)), x)


def _relaxation(rate, mean, x, t):
    return _like(rate, x) * (_like(mean, x) - x)


def brownian(diffusivity) -> SDE:
    r"""Free Brownian motion, $dX = \sqrt{2 D}\,dW$: in each coordinate $X_t - X_0 \sim \mathcal N(0, 2 D t)$.

    Args:
      diffusivity: D >= 0, length**2/time.
    Raises: ValueError: if D is negative or not finite. Traced and negative, it gives NaN.
    References: Einstein 1905; chapter 2.

    >>> brownian(0.5).diffusion(jnp.zeros(2), 0.0)
    Array([1., 1.], dtype=float32)
    """
    require_nonnegative(diffusivity, "diffusivity", "brownian")
    return SDE(zero, Partial(_free, diffusivity))


def ornstein_uhlenbeck(rate, mean, sigma) -> SDE:
    r"""Pull to a mean, $dX = \theta\,(\mu - X)\,dt + \sigma\,dW$; stationary $\mathcal N(\mu, \sigma^2 / 2\theta)$.

    Args:
      rate: theta, 1/time; negative, it repels from the mean.  mean: mu, length.  sigma: >= 0, length/time**(1/2).
    Raises: ValueError: if sigma is negative, or one of the three not finite. A traced sigma's sign is not looked at.
    References: Uhlenbeck & Ornstein 1930; transition law in `exact.ornstein_uhlenbeck`.

    >>> ornstein_uhlenbeck(2.0, 1.0, 0.3).drift(jnp.zeros(2), 0.0)
    Array([2., 2.], dtype=float32)
    """
    require_finite(rate, "rate", "ornstein_uhlenbeck")
    require_finite(mean, "mean", "ornstein_uhlenbeck")
    require_nonnegative(sigma, "sigma", "ornstein_uhlenbeck")
    return SDE(Partial(_relaxation, rate, mean), Partial(_constant, sigma))
