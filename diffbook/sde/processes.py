r"""The processes the book meets, each an `SDE` with its parameters.

A parameter is a number or an array that broadcasts against x from the right (one per coordinate, say); it may be
traced, and changing its value costs no new compilation.
"""

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from diffbook._checks import require, require_finite, require_nonnegative, static_value
from diffbook.sde.process import SDE, zero


def _like(parameter, x):
    return jnp.broadcast_to(jnp.asarray(parameter, x.dtype), x.shape)


def _constant(value, x, t):
    return _like(value, x)


def _free(diffusivity, x, t):
    return _like(jnp.sqrt(2 * jnp.asarray(diffusivity, x.dtype)), x)


def _relaxation(rate, mean, x, t):
    return _like(rate, x) * (_like(mean, x) - x)


def _proportional(rate, x, t):
    return _like(rate, x) * x


def _root(x):
    """sqrt(x) where x > 0, else 0 with slope 0: a step may lead below zero, and no NaN may come of it."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def _root_noise(sigma, x, t):
    return _like(sigma, x) * _root(x)


def _bounded_noise(kappa, x, t):
    return jnp.sqrt(_like(kappa, x)) * _root(x * (1 - x))


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


def geometric_brownian(growth, volatility) -> SDE:
    r"""Growth in proportion to what there is, $dX = \mu X\,dt + \sigma X\,dW$: $\ln X_t$ is normal.

    The mean grows as $e^{\mu t}$, the median as $e^{(\mu - \sigma^2/2) t}$.

    Args:
      growth: mu, 1/time.  volatility: sigma >= 0, 1/time**(1/2).
    Raises: ValueError: if volatility is negative, or one of the two not finite.
    References: Samuelson 1965; transition law in `exact.geometric_brownian`. Derived in chapter 3.

    >>> geometric_brownian(0.1, 0.3).diffusion(jnp.array([1.0, 2.0]), 0.0)
    Array([0.3, 0.6], dtype=float32)
    """
    require_finite(growth, "growth", "geometric_brownian")
    require_nonnegative(volatility, "volatility", "geometric_brownian")
    return SDE(Partial(_proportional, growth), Partial(_proportional, volatility))


def cir(rate, mean, sigma) -> SDE:
    r"""Cox, Ingersoll and Ross's interest rate, $dX = \kappa\,(\theta - X)\,dt + \sigma \sqrt{X}\,dW$ on $X \ge 0$.

    Stationary law: gamma of shape $2\kappa\theta/\sigma^2$ and scale $\sigma^2/2\kappa$. X stays above 0 if
    $2\kappa\theta \ge \sigma^2$ (Feller); else it touches 0 again and again, or is caught there if $\kappa\theta = 0$.
    Steps of finite length may lead below 0, where this equation has the drift alone, which leads back.

    Args:
      rate: kappa >= 0, 1/time.  mean: theta >= 0, the unit of X.  sigma: >= 0, unit**(1/2)/time**(1/2).
    Raises: ValueError: if one of the three is negative or not finite.
    References: Feller 1951; Cox, Ingersoll & Ross 1985, eq. (17); transition law in `exact.cir`. Chapter 3.

    >>> cir(1.0, 0.5, 0.2).diffusion(jnp.array([4.0, 0.0, -0.1]), 0.0)
    Array([0.4, 0. , 0. ], dtype=float32)
    """
    for value, name in ((rate, "rate"), (mean, "mean"), (sigma, "sigma")):
        require_nonnegative(value, name, "cir")
    return SDE(Partial(_relaxation, rate, mean), Partial(_root_noise, sigma))


def bounded_mixing(rate, mean, kappa) -> SDE:
    r"""Mixing of a bounded scalar, $dY = \frac{\omega}{2}(m - Y)\,dt + \sqrt{\kappa\,Y (1 - Y)}\,dW$ on [0, 1].

    Stationary law: Beta with $a = \omega m/\kappa$, $b = \omega (1 - m)/\kappa$. Relaxation rates: $\frac n2 (\omega +
    (n - 1)\kappa)$. Y stays above 0 if $a \ge 1$ and below 1 if $b \ge 1$; else it touches that end and comes back, or
    is caught there if a (or b) is 0. Steps of finite length may lead out of [0, 1]; there the drift alone leads back.

    Args:
      rate: omega >= 0, 1/time.  mean: m, 0 to 1.  kappa: >= 0, 1/time.
    Raises: ValueError: if rate or kappa is negative, mean not in [0, 1], or one of the three not finite.
    References: Bakosi & Ristorcelli 2010, Journal of Turbulence 11, N37. Derived in chapter 3.

    >>> bounded_mixing(2.0, 0.5, 0.4).diffusion(jnp.array([0.0, 0.5, 1.0]), 0.0)
    Array([0.        , 0.31622776, 0.        ], dtype=float32)
    """
    for value, name in ((rate, "rate"), (mean, "mean"), (kappa, "kappa")):
        require_nonnegative(value, name, "bounded_mixing")
    most = static_value(mean)
    require(
        most is None or bool((most <= 1).all()), f"bounded_mixing needs mean <= 1, got mean={mean}; scale Y to [0, 1]"
    )
    return SDE(Partial(_relaxation, rate / 2, mean), Partial(_bounded_noise, kappa))


def force(potential, x):
    """Minus the gradient of the potential, like x. Summed over points it is one function, and the points do not mix."""

    def total(x):
        energy = potential(x)
        require(
            jnp.shape(energy) in (x.shape[:-1], x.shape),
            f"a potential maps points (..., d) to energies (...), got {jnp.shape(energy)} for points {x.shape}; "
            "sum over the last axis alone, or write it elementwise",
        )
        return energy.sum()

    return -jax.grad(total)(x)


def _downhill(potential, x, t):
    return force(potential, x)


def langevin(potential, diffusivity) -> SDE:
    r"""Downhill and shaken, $dX = -\nabla U(X)\,dt + \sqrt{2 D}\,dW$; equilibrium $e^{-U/D}/Z$.

    Without inertia (overdamped), and in units in which the mobility is one.

    Args:
      potential: U, (..., d) -> (...), length**2/time. One that acts on every number by itself, such as
        `lambda x: x**2 / 2`, is read as the same U for each of them, in x of any shape.
      diffusivity: D >= 0, length**2/time; the temperature, since the mobility is one.
    Raises: ValueError: if D is negative or not finite, or, when simulated, the potential returns another shape. Traced
      and negative, D gives NaN.
    References: Langevin 1908 (with inertia: `underdamped_langevin`); chapter 4. The density's law: `pde.fokker_planck`.

    >>> double_well = langevin(lambda x: ((x**2 - 1) ** 2).sum(-1), 0.2)
    >>> double_well.drift(jnp.array([[0.5], [-2.0]]), 0.0)
    Array([[ 1.5],
           [24. ]], dtype=float32)
    """
    require(callable(potential), f"langevin needs potential to be a function, got {potential!r}; write lambda x: ...")
    require_nonnegative(diffusivity, "diffusivity", "langevin")
    return SDE(Partial(_downhill, potential), Partial(_free, diffusivity))
