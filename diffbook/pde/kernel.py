"""The heat equation on all of space, from one point: its kernel."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from diffbook._checks import require, require_finite, require_floating, require_positive


def heat_kernel(x: Shaped[ArrayLike, "*batch d"], t: ArrayLike, *, diffusivity: ArrayLike) -> Float[Array, "..."]:
    r"""Spread of a unit point source, $(4\pi Dt)^{-d/2}\exp\bigl(-|x|^2/4Dt\bigr)$: variance $2Dt$ along each axis.

    Args:
      x: displacement from the source, shape `(..., d)`, length. A line of n points in 1-D is `(n, 1)`: `x[:, None]`.
      t: time since the release, > 0; one number or anything that broadcasts against `x.shape[:-1]`.
      diffusivity: $D > 0$, length²/time.
    Returns: density, 1/length^d, shape `(...)`; integrates to one over space.
    Raises: ValueError: if `t` or `diffusivity` is not > 0. Traced values that are not give NaN or zero.
    References: Fourier 1822; Crank 1975, chapter 2.

    >>> import jax.numpy as jnp
    >>> x = jnp.linspace(-10.0, 10.0, 201)
    >>> print(f"{0.1 * heat_kernel(x[:, None], 2.0, diffusivity=0.5).sum():.4f}")
    1.0000
    """
    x = require_floating(x, "x", "heat_kernel")
    require(
        x.ndim >= 1 and x.shape[-1] >= 1,
        f"heat_kernel needs x of shape (..., d), got shape {x.shape}; in 1-D pass x[..., None]",
    )
    require_finite(x, "x", "heat_kernel")
    require_positive(t, "t", "heat_kernel", "at t=0 the kernel is a point source, not a function")
    require_positive(diffusivity, "diffusivity", "heat_kernel")
    return _heat_kernel(x, jnp.asarray(t, x.dtype), jnp.asarray(diffusivity, x.dtype))


@jax.jit
def _heat_kernel(x, t, diffusivity):
    shape = jnp.broadcast_shapes(x.shape[:-1], t.shape, diffusivity.shape)
    squared, t, diffusivity = (jnp.broadcast_to(a, shape) for a in (jnp.sum(x * x, axis=-1), t, diffusivity))
    spread = 4 * diffusivity * t
    # One exponential: the two factors alone would leave float32's range in many dimensions.
    return jnp.exp(-squared / spread - 0.5 * x.shape[-1] * jnp.log(jnp.pi * spread))
