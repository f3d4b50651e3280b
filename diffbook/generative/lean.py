"""Layers without parameters, in pieces that a processor gets through quickly, and with derivatives that keep little;
and a matrix product laid out so that its gradient is quick.

Between the matrix products of a network a processor waits for memory, so a number computed twice can cost less than
one written and read back. XLA decides that for itself, on a CPU not always well; a barrier decides it here.
"""

import jax
import jax.numpy as jnp

from diffbook._checks import require

SMALLEST = 1e-6  # variance that is added, so that a row of equal numbers has a finite slope

_apart = jax.lax.optimization_barrier


def _with_scale(x):
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = x.mean(-1, keepdims=True)
    var = jnp.maximum((x * x).mean(-1, keepdims=True) - mean * mean, 0)
    mean, scale = _apart((mean, jax.lax.rsqrt(var + SMALLEST)))  # or the sums would write the whole array too, slowly
    return _apart((x - mean) * scale), scale


@jax.custom_jvp
def layer_norm(x):
    r"""Mean 0 and variance 1 along the last axis, $y = (x - m)/\sqrt{v + 10^{-6}}$, in single precision at least.

    A change of x arrives as $\dot y = (\dot x - \overline{\dot x} - y\,\overline{y \dot x})/\sqrt{v + 10^{-6}}$: a
    symmetric map, so the way back needs y and one number a row.

    Args:
      x: shape (..., width).
    Returns: shape (..., width), float32 or wider.
    References: Ba, Kiros & Hinton 2016, section 3.

    >>> layer_norm(jnp.array([[1.0, 3.0], [5.0, 5.0]])).round(3).tolist()
    [[-1.0, 1.0], [0.0, 0.0]]
    """
    return _with_scale(x)[0]


@layer_norm.defjvp
def _layer_norm_and_change(primals, tangents):
    (y, scale), change = _with_scale(*primals), tangents[0]
    change = change.astype(y.dtype)
    return y, scale * (change - change.mean(-1, keepdims=True) - y * (y * change).mean(-1, keepdims=True))


@jax.custom_jvp
def modulate(x, scale, shift):
    """x * (1 + scale) + shift; backwards, 1 + scale is spread over x again and not kept spread.

    Args:
      x: shape (..., width).  scale, shift: of shapes that broadcast to that of x.
    Returns: shape of x.
    References: Peebles & Xie 2023, section 3.2.

    >>> modulate(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([[1.0, 0.0]]), 0.5).tolist()
    [[2.5, 2.5], [6.5, 4.5]]
    """
    return x * (1 + scale) + shift


@modulate.defjvp
def _modulate_and_change(primals, tangents):
    (x, scale, shift), (dx, dscale, dshift) = primals, tangents
    return modulate(x, scale, shift), _apart(dx) * (1 + _apart(scale)) + x * dscale + dshift


@jax.custom_jvp
def silu(x):
    r"""$x\,s(x)$ with $s(x) = 1/(1 + e^{-x})$, at each number; backwards, s is computed again.

    References: Ramachandran, Zoph & Le 2017 (as "Swish").

    >>> [round(y, 3) for y in silu(jnp.array([-1.0, 0.0, 100.0])).tolist()]
    [-0.269, 0.0, 100.0]
    """
    return x * jax.nn.sigmoid(x)


@silu.defjvp
def _silu_and_change(primals, tangents):
    x = _apart(primals[0])  # or XLA would store the s of the way there
    s = jax.nn.sigmoid(x)
    return silu(*primals), s * (1 + x * (1 - s)) * tangents[0]


def row_product(x, kernel, dimensions, **options):
    """`jax.lax.dot_general` for `nnx.Linear`, with all axes of x but the last laid out as the rows of one matrix.

    The gradient with respect to the kernel then sums over one axis, and a CPU takes both of its factors as they are.
    Over several axes XLA first turns one of the two, number by number, which can take as long as the product.

    Args:
      x: shape (..., width).  kernel: shape (width, out).  dimensions: the last axis of x with the first of the kernel.
      options: as for `jax.lax.dot_general`.
    Returns: shape (..., out).
    Raises: ValueError: for other dimensions.

    >>> row_product(jnp.ones((2, 3, 4)), jnp.ones((4, 5)), (((2,), (0,)), ((), ()))).shape
    (2, 3, 5)
    """
    require(
        dimensions == (((x.ndim - 1,), (0,)), ((), ())),
        f"row_product sums over the last axis of x only, got {dimensions=}; use jax.lax.dot_general",
    )
    rows = jax.lax.dot_general(x.reshape(-1, x.shape[-1]), kernel, (((1,), (0,)), ((), ())), **options)
    return rows.reshape(*x.shape[:-1], -1)
