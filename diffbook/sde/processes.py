r"""The processes the book meets, each an `SDE` with its parameters.

A parameter is a number or an array that broadcasts against x from the right (one per coordinate, say); it may be
traced, and changing its value costs no new compilation.
"""

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from diffbook._checks import require, require_finite, require_nonnegative
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
