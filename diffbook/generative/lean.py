"""Layers without parameters, in pieces that a processor gets through quickly, and with derivatives that keep little;
a matrix product laid out so that its gradient is quick; and a batch in halves that do not wait for each other.

Between the matrix products of a network a processor waits for memory, so a number computed twice can cost less than
one written and read back. XLA decides that for itself, on a CPU not always well; here a barrier does, or a checkpoint.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from diffbook._checks import require

SMALLEST = 1e-6  # variance that is added, so that a row of equal numbers has a finite slope
MANY = 64  # rows of a batch that are worth two halves

_apart = jax.lax.optimization_barrier


def _wide(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _statistics(x):
    """Mean and 1 / deviation of each row: all that `modulated_norm` keeps for the way back, beside its arguments."""
    mean = x.mean(-1)
    var = jnp.maximum((x * x).mean(-1) - mean * mean, 0)
    mean, slope = _apart((mean, jax.lax.rsqrt(var + SMALLEST)))  # or the sums would write the whole array too, slowly
    return checkpoint_name(mean, "row"), checkpoint_name(slope, "row")


def _normed(x, mean, slope):
    return (x - mean[..., None]) * slope[..., None]


def _normed_change(y, slope, dx):
    return slope[..., None] * (dx - dx.mean(-1)[..., None] - y * (y * dx).mean(-1)[..., None])


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
    x = _wide(x)
    return _normed(x, *_statistics(x))


@layer_norm.defjvp
def _layer_norm_and_change(primals, tangents):
    x = _wide(*primals)
    mean, slope = _statistics(x)
    y = _normed(x, mean, slope)
    return y, _normed_change(y, slope, _wide(*tangents))


@partial(jax.checkpoint, policy=jax.checkpoint_policies.save_only_these_names("row"))
def modulated_norm(x, scale, shift):
    """layer_norm(x) * (1 + scale) + shift, in the precision of x; backwards, all of it but two numbers a row is
    computed again and not kept.

    Args:
      x: shape (..., width).  scale, shift: of shapes that broadcast to that of x.
    Returns: shape of x.
    References: Peebles & Xie 2023, section 3.2; Chen et al. 2016 (computing again).

    >>> modulated_norm(jnp.array([[1.0, 3.0], [5.0, 5.0]]), jnp.array([[1.0, 0.0]]), 1.0).round().tolist()
    [[-1.0, 2.0], [1.0, 1.0]]
    """
    return layer_norm(x).astype(x.dtype) * (1 + scale) + shift


@jax.custom_jvp
def softmax(x):
    r"""$y_i = e^{x_i} / \sum_j e^{x_j}$ along the last axis, in single precision at least; backwards it takes y alone.

    Args:
      x: shape (..., width).
    Returns: shape (..., width), float32 or wider.

    >>> softmax(jnp.log(jnp.array([1.0, 2.0, 5.0]))).round(3).tolist()
    [0.125, 0.25, 0.625]
    """
    x = _wide(x)
    e = jnp.exp(x - x.max(-1)[..., None])
    return _apart(e * (1 / e.sum(-1))[..., None])  # or the way back would divide once more, everywhere


@softmax.defjvp
def _softmax_and_change(primals, tangents):
    y, change = softmax(*primals), _wide(*tangents)
    return y, y * (change - (y * change).sum(-1)[..., None])


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
    Over several axes XLA first turns one of the two, number by number, which can take as long as the product. A kernel
    with more rows than columns goes in turned where x has more rows still: then its gradient comes out turned too, with
    more columns than rows, which took the one CPU where it was timed, with AVX-512, a fifth less.

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
    rows, (width, out) = x.reshape(-1, x.shape[-1]), kernel.shape
    if tall := len(rows) > width > out:
        kernel = _apart(kernel.T)  # or XLA would turn it back
    return jax.lax.dot_general(rows, kernel, (((1,), (int(tall),)), ((), ())), **options).reshape(*x.shape[:-1], out)


def in_halves(network, *arrays):
    """`network(*arrays)` for a network that treats each row for itself, the even rows and the odd ones side by side.

    On a CPU many operations of a network keep only one core busy, and each layer waits for the one before. Two halves
    of a batch do not wait for each other, so that a second core finds work. Even and odd, because then a batch that is
    spread over devices stays where it is. Elsewhere, or with few rows, the batch goes through whole.

    Args:
      network: (n, ...), ... -> (n, ...).  arrays: with n rows each.
    Returns: shape (n, ...).

    >>> in_halves(lambda x: 2 * x, jnp.arange(64)).tolist() == list(range(0, 128, 2))
    True
    """
    n = len(arrays[0])
    if n < MANY or n % 2 or jax.default_backend() != "cpu":
        return network(*arrays)
    pairs = [array.reshape(n // 2, 2, *array.shape[1:]) for array in arrays]
    out = jnp.stack([network(*(pair[:, half] for pair in pairs)) for half in range(2)], 1)
    return out.reshape(n, *out.shape[2:])
