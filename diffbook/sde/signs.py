"""Weak simulation with coins: each increment is plus or minus sqrt(dt), and one random word holds 32 of them.

A law needs less than a path. Where only averages at the end are asked for, increments that share their first three
moments with the normal law give the same weak order 1, and cost one bit.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from diffbook._checks import require, require_floating
from diffbook.sde import noise as _noise
from diffbook.sde.integrate import euler_maruyama, time_grid
from diffbook.sde.program import traced_step

_BITS = 32


@partial(jax.jit, static_argnames="step")
def _walk(step, arrays, x0, ts, dts, key):
    words = _noise.words_of(key)
    places = _noise.places(x0.shape)
    blocks = len(dts) // _BITS
    cut = blocks * _BITS

    def block(x, number, ts, dts):
        coins, _ = _noise.threefry2x32(words, (places, number))
        roots = jnp.sqrt(jnp.abs(dts))
        for k in range(len(dts)):  # written out, so that a path stays in registers for the whole block
            heads = (coins >> np.uint32(k)) & np.uint32(1)
            x = step(arrays, x, ts[k], dts[k], jnp.where(heads == 1, roots[k], -roots[k]))
        return x

    def body(x, now):
        return jax.checkpoint(block, prevent_cse=False)(x, *now), None

    rows = (jnp.arange(blocks, dtype=jnp.uint32), ts[:cut].reshape(blocks, _BITS), dts[:cut].reshape(blocks, _BITS))
    x, _ = lax.scan(body, x0, rows)
    return block(x, jnp.uint32(blocks), ts[cut:-1], dts[cut:]) if cut < len(dts) else x


def weak_signs(sde, x0: ArrayLike, ts: ArrayLike, *, key: Array, step=euler_maruyama) -> Float[Array, "..."]:
    r"""The end of `simulate`'s walk with random signs for normal increments, $\Delta W = \pm\sqrt{|\Delta t|}$.

    Right in law to weak order 1, like Euler with normal increments, for averages of smooth functions of the end point.
    Not for paths, strong errors, or tails: after n equal steps |W| is at most n sqrt(dt). The sign at step k of the
    path at place i hangs on (key, k, i) alone.

    Args:
      sde, x0, ts, key: as of `simulate`; steps of drift and noise are written out 32 times, so keep them short.
      step: `euler_maruyama`, or another whose weak order is 1. Higher weak orders need more moments than signs have.
    Returns: state at `ts[-1]`, shape, dtype and sharding of x0.
    Raises: ValueError: as `simulate`.
    References: Kloeden & Platen 1992, section 14.1 (simplified weak Euler).

    >>> from diffbook.sde import brownian
    >>> w = weak_signs(brownian(0.5), jnp.zeros(4), jnp.array([0.0, 1.0]), key=jax.random.key(0))
    >>> bool((jnp.abs(w) == 1).all())
    True
    """
    x0 = require_floating(x0, "x0", "weak_signs")
    x0 = lax.convert_element_type(x0, x0.dtype)
    for name, value in (("drift", sde.drift), ("diffusion", sde.diffusion), ("step", step)):
        require(
            callable(value), f"weak_signs needs {name} to be a function, got {name}={value!r}; write lambda x, t: ..."
        )
    ts, dts = time_grid(ts, jnp.promote_types(x0.dtype, jnp.float32), "weak_signs")
    _noise.check_draw(key, x0.shape, "weak_signs")
    scalar, like_x = jax.ShapeDtypeStruct((), dts.dtype), jax.ShapeDtypeStruct(x0.shape, dts.dtype)
    move, arrays = traced_step(step, sde, x0, scalar, scalar, like_x)
    return _walk(move, arrays, x0, ts, dts, key)
