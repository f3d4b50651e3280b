"""Places of a picture that look at one another: the block of transformers, told the noise level."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from diffbook._checks import require
from diffbook.generative.lean import modulated_norm, row_product, silu, softmax


@jax.custom_jvp
def _fit(q, k):
    """All the products of questions and keys, q k^T: (..., i, d), (..., j, d) -> (..., i, j)."""
    return jnp.einsum("...id,...jd->...ij", q, k)


@_fit.defjvp
def _fit_and_change(primals, tangents):
    """The change of the keys is told turned: run backwards, it turns the gradient of the fit, once, and is a product
    that sums over rows. The one that sums over columns takes some CPUs three times as long, others twice."""
    (q, k), (dq, dk) = primals, tangents
    turned_change = jax.lax.optimization_barrier(jnp.einsum("...jd,...id->...ji", dk, q))
    change = jnp.einsum("...id,...jd->...ij", dq, k) + turned_change.swapaxes(-1, -2)
    return _fit(q, k), jax.lax.optimization_barrier(change)


def looks(q, k):
    """The weights of attention, softmax of q k^T / sqrt(d) over the last axis: (..., i, d), (..., j, d) -> (..., i, j).

    Written out, with the heads before the places, it takes a CPU a tenth less than `jax.nn.dot_product_attention`,
    which has to turn them round, there and back. The softmax is taken in single precision at least.
    """
    fit = _fit(q * q.shape[-1] ** -0.5, k)
    return softmax(fit).astype(fit.dtype)


class AttentionBlock(nnx.Module):
    r"""h + attention(h), and then h + W silu(V h), each of which reads scale(c) * norm(h) + shift(c).

    In the first half every place asks, $q_i$, every place offers, $k_j$, and place i receives the mean of what the
    others hold, $v_j$, with weights $\propto \exp(q_i \cdot k_j/\sqrt{d})$, in each head, of width d, for itself. The
    second half is a layer at each place alone.

    Args:
      width: of the stream h, shape (n, places, width).  heads: a divisor of it.
      condition: length of c.  dtype: of the arithmetic; that of the input if left out.  rngs: for the start.
    Raises: ValueError: if the heads do not divide the width.
    References: Vaswani et al. 2017, section 3.2 (attention); Peebles & Xie 2023, section 3.2 (scale and shift).

    >>> block = AttentionBlock(8, 2, 4, rngs=nnx.Rngs(0))
    >>> block(jnp.zeros((3, 5, 8)), jnp.zeros((3, 4))).shape
    (3, 5, 8)
    """

    def __init__(self, width: int, heads: int, condition: int, *, dtype=None, rngs: nnx.Rngs):
        require(
            heads >= 1 and width % heads == 0,
            f"AttentionBlock needs heads that divide the width, got {heads=}, {width=}; take a width of 32 a head",
        )
        zero, self.heads = nnx.initializers.zeros_init(), heads
        linear = functools.partial(nnx.Linear, dtype=dtype, dot_general=row_product, rngs=rngs)
        self.tell = linear(condition, 4 * width)
        self.ask = linear(width, 3 * width, use_bias=False)
        self.answer = linear(width, width, kernel_init=zero)
        self.up = linear(width, 2 * width)
        self.down = linear(2 * width, width, kernel_init=zero)

    def _asked(self, h, scale, shift):
        """Questions, keys and values, each of shape (n, heads, places, width / heads)."""
        x = modulated_norm(h, scale, shift)
        asked = jnp.split(self.ask(x), 3, axis=-1)
        return [a.reshape(*h.shape[:2], self.heads, -1).swapaxes(1, 2) for a in asked]

    def weights(self, h, c):
        """Who looks at whom, shape (n, heads, places, places); what a place gives to all, itself too, sums to 1."""
        scale, shift, *_ = jnp.split(self.tell(c)[:, None], 4, axis=-1)
        return looks(*self._asked(h, scale, shift)[:2])

    def __call__(self, h, c):
        scale, shift, scale2, shift2 = jnp.split(self.tell(c)[:, None], 4, axis=-1)
        q, k, v = self._asked(h, scale, shift)
        seen = jnp.einsum("nhij,nhjd->nhid", looks(q, k), v)
        h = h + self.answer(seen.swapaxes(1, 2).reshape(h.shape))
        return h + self.down(silu(self.up(modulated_norm(h, scale2, shift2))))
