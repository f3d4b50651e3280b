r"""Exact transition draws: $X_t$ given $X_0$ in one leap of any length, with no error of a time step."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffbook._checks import (
    check_key,
    require_finite,
    require_floating,
    require_nonnegative,
    require_positive,
    static_value,
)
from diffbook.sde.gamma import standard_gamma


def _mean_decay(y):
    """(1 - exp(-y)) / y, the mean of exp(-s) over 0 < s < y, which is 1 at y = 0; two `where`s, for its gradient."""
    safe = jnp.where(y == 0, 1.0, y)
    return jnp.where(y == 0, 1.0, -jnp.expm1(-safe) / safe)


def _alike(x0, *parameters):
    return (jnp.broadcast_to(jnp.asarray(p, x0.dtype), x0.shape) for p in parameters)


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


@jax.jit
def _geometric_brownian(x0, t, growth, volatility, key):
    t, growth, volatility = _alike(x0, t, growth, volatility)
    z = jax.random.normal(key, x0.shape, x0.dtype)
    return x0 * jnp.exp((growth - volatility**2 / 2) * t + volatility * jnp.sqrt(t) * z)


def geometric_brownian(x0, t, *, growth, volatility, key) -> Float[Array, "..."]:
    r"""Draw $X_t = x_0 \exp\bigl((\mu - \frac12 \sigma^2)\,t + \sigma \sqrt t\, Z\bigr)$, $Z \sim \mathcal N(0, 1)$.

    Args:
      x0: start, any shape.  t: >= 0, time passed; a number, or an array that broadcasts against x0 from the right.
      growth, volatility: as of the process `geometric_brownian`.
      key: typed random key.
    Returns: X_t, shape and dtype of x0.
    Raises: ValueError: if t or volatility is negative or a parameter not finite. A traced t < 0 gives NaN.
    References: Samuelson 1965; chapter 3.

    >>> x = geometric_brownian(jnp.ones(100_000), 1.0, growth=0.5, volatility=0.4, key=jax.random.key(0))
    >>> f"mean {x.mean():.2f}"                              # exactly exp(1/2) = 1.65
    'mean 1.65'
    """
    x0 = require_floating(x0, "x0", "exact.geometric_brownian")
    require_finite(growth, "growth", "exact.geometric_brownian")
    for value, name in ((t, "t"), (volatility, "volatility")):
        require_nonnegative(value, name, "exact.geometric_brownian")
    check_key(key, "exact.geometric_brownian")
    return _geometric_brownian(x0, t, growth, volatility, key)


@partial(jax.jit, static_argnames="as_squares")
def _cir(x0, t, rate, mean, sigma, key, as_squares):
    t, rate, mean, sigma = _alike(x0, t, rate, mean, sigma)
    degrees = 4 * rate * mean / sigma**2
    scale = sigma**2 * t * _mean_decay(rate * t) / 4
    left = x0 * jnp.exp(-rate * t)  # scale * lambda
    key, other = jax.random.split(key)
    if as_squares:
        z = jax.random.normal(other, x0.shape, x0.dtype)
        half = jnp.maximum((degrees - 1) / 2, 0)
        return (jnp.sqrt(scale) * z + jnp.sqrt(left)) ** 2 + 2 * scale * standard_gamma(key, half)
    started = scale > 0
    half = jnp.where(started, left / (2 * jnp.where(started, scale, 1.0)), 0.0)
    n = jax.random.poisson(other, half).astype(x0.dtype)
    x = 2 * scale * standard_gamma(key, degrees / 2 + n)
    return jnp.where(x0 < 0, jnp.nan, jnp.where(started, x, left))


def cir(x0, t, *, rate, mean, sigma, key) -> Float[Array, "..."]:
    r"""Draw $X_t = c\,\chi'^2_\nu(\lambda)$, a noncentral chi-square times $c = \sigma^2 (1 - e^{-\kappa t})/4\kappa$.

    Here $\nu = 4\kappa\theta/\sigma^2$ is the number of degrees of freedom and $\lambda = x_0 e^{-\kappa t}/c$. For
    $\nu \ge 1$ it is drawn as $(Z + \sqrt\lambda)^2 + \chi^2_{\nu - 1}$. For $\nu < 1$, or where parameters are traced
    or arrays, as $\chi^2_{\nu + 2N}$ with N Poisson of mean $\lambda/2$; with $\nu = 0$ it is at 0 with the exact
    chance $e^{-\lambda/2}$. Exact but for rounding and the generators' own limits: in float32 JAX's Poisson numbers go
    wrong for means beyond some 10**6, that is, for $t < 2 x_0/(10^6 \sigma^2)$.

    Args:
      x0: start >= 0, any shape.  t: >= 0, time passed; a number, or an array that broadcasts against x0 from the right.
      rate, mean, sigma: as of the process `cir`, sigma > 0; rate = 0 is Feller's branching diffusion.
      key: typed random key.
    Returns: X_t >= 0, shape and dtype of x0.
    Raises: ValueError: if a parameter is negative or not finite. x0 < 0, or a traced t < 0, gives NaN.
    References: Feller 1951; Cox, Ingersoll & Ross 1985, eq. (18); Glasserman 2003, section 3.4.

    >>> x = cir(jnp.full(100_000, 2.0), 1.0, rate=1.0, mean=1.0, sigma=1.0, key=jax.random.key(0))
    >>> f"mean {x.mean():.1f}"                              # exactly 1 + exp(-1) = 1.37
    'mean 1.4'
    """
    x0 = require_floating(x0, "x0", "exact.cir")
    for value, name in ((t, "t"), (rate, "rate"), (mean, "mean")):
        require_nonnegative(value, name, "exact.cir")
    require_positive(sigma, "sigma", "exact.cir")
    check_key(key, "exact.cir")
    known = static_value([rate, mean, sigma]) if jnp.ndim(rate) == jnp.ndim(mean) == jnp.ndim(sigma) == 0 else None
    as_squares = known is not None and bool(4 * known[0] * known[1] >= known[2] ** 2)
    return _cir(x0, t, rate, mean, sigma, key, as_squares)


@jax.jit
def _goldstein_kac(x0, t, diffusivity, tau, key):
    t, diffusivity, tau = _alike(x0, t, diffusivity, tau)
    keys = jax.random.split(key, 4)
    runs = jax.random.poisson(keys[0], t / (2 * tau)) + 1
    there = standard_gamma(keys[1], ((runs + 1) // 2).astype(x0.dtype))
    back = standard_gamma(keys[2], (runs // 2).astype(x0.dtype))
    way = jnp.where(jax.random.bernoulli(keys[3], 0.5, x0.shape), 1.0, -1.0).astype(x0.dtype)
    return x0 + way * jnp.sqrt(diffusivity / tau) * t * ((there - back) / (there + back))


def goldstein_kac(x0, t, *, diffusivity, tau, key) -> Float[Array, "..."]:
    r"""Draw where a walker is that runs at speed $c = \sqrt{D/\tau}$ and turns at rate $1/2\tau$.

    It set out either way with chance 1/2, so that the density obeys the telegrapher's equation from rest. It makes N
    turns, N Poisson of mean $t/2\tau$; its N + 1 runs share t like the gaps between N uniform points, so that the share
    B spent going the first way has a Beta law, and $X_t = x_0 \pm ct\,(2B - 1)$: $x_0 \pm ct$, on a front, if N = 0.

    Args:
      x0: start, any shape.  t: >= 0, time passed; a number, or an array that broadcasts against x0 from the right.
      diffusivity: D > 0, length**2/time.  tau: > 0, time.
      key: typed random key.
    Returns: X_t, shape and dtype of x0.
    Raises: ValueError: if t is negative, or a parameter not > 0.
    References: Goldstein 1951; Kac 1974; chapter 2. Density: `diffbook.pde.telegraph.green` and `front_weight`.

    >>> x = goldstein_kac(jnp.zeros(100_000), 2.0, diffusivity=1.0, tau=1.0, key=jax.random.key(0))
    >>> f"{(abs(x) == 2).mean():.2f} on the fronts"         # exactly exp(-1) = 0.37
    '0.37 on the fronts'
    """
    x0 = require_floating(x0, "x0", "exact.goldstein_kac")
    require_nonnegative(t, "t", "exact.goldstein_kac")
    for value, name in ((diffusivity, "diffusivity"), (tau, "tau")):
        require_positive(value, name, "exact.goldstein_kac")
    check_key(key, "exact.goldstein_kac")
    return _goldstein_kac(x0, t, diffusivity, tau, key)
