r"""Exact transition draws: $X_t$ given $X_0$ in one leap of any length, with no error of a time step."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffbook._checks import check_key, require_finite, require_floating, require_nonnegative


def _mean_decay(y):
    """(1 - exp(-y)) / y, the mean of exp(-s) over 0 < s < y, which is 1 at y = 0; two `where`s, for its gradient."""
    safe = jnp.where(y == 0, 1.0, y)
    return jnp.where(y == 0, 1.0, -jnp.expm1(-safe) / safe)


@jax.jit
def _ornstein_uhlenbeck(x0, t, rate, mean, sigma, key):
    t, rate, mean, sigma = (jnp.broadcast_to(jnp.asarray(p, x0.dtype), x0.shape) for p in (t, rate, mean, sigma))
    spread = sigma * jnp.sqrt(t * _mean_decay(2 * rate * t))
    return mean + (x0 - mean) * jnp.exp(-rate * t) + spread * jax.random.normal(key, x0.shape, x0.dtype)


def ornstein_uhlenbeck(x0, t, *, rate, mean, sigma, key) -> Float[Array, "..."]:
    r"""Draw $X_t = \mu + (x_0 - \mu)\,e^{-\theta t} + \sigma \sqrt{(1 - e^{-2 \theta t}) / 2 \theta}\,Z$.

    Args:
      x0: start, any shape.  t: >= 0, time passed; a number, or an array that broadcasts against x0 from the right.
      rate, mean, sigma: as of the process `ornstein_uhlenbeck`; rate = 0 is Brownian motion with 2 D = sigma**2.
      key: typed random key.
    Returns: X_t, shape and dtype of x0.
    Raises: ValueError: if t or sigma is negative or a parameter not finite. A traced t < 0 gives NaN.
    References: Uhlenbeck & Ornstein 1930; Gillespie 1996.

    >>> x = ornstein_uhlenbeck(jnp.full(50_000, 5.0), 2.0, rate=1.0, mean=1.0, sigma=2.0, key=jax.random.key(0))
    >>> f"mean {x.mean():.1f}, variance {x.var():.1f}"     # exactly 1 + 4 exp(-2) and 2 (1 - exp(-4))
    'mean 1.5, variance 2.0'
    """
    x0 = require_floating(x0, "x0", "exact.ornstein_uhlenbeck")
    for value, name in ((rate, "rate"), (mean, "mean")):
        require_finite(value, name, "exact.ornstein_uhlenbeck")
    for value, name in ((t, "t"), (sigma, "sigma")):
        require_nonnegative(value, name, "exact.ornstein_uhlenbeck")
    check_key(key, "exact.ornstein_uhlenbeck")
    return _ornstein_uhlenbeck(x0, t, rate, mean, sigma, key)
