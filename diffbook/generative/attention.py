"""Places of a picture that look at one another: the block of transformers, told the noise level."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from diffbook._checks import require


def turned(x, kernel, dimensions, **options):
    """`jax.lax.dot_general` for `nnx.Linear`, with the kernel turned first and the sum over the last axis of both.

    On a CPU the gradient with respect to the kernel then is a product without a transposed result, and takes three
    quarters of the time. The barrier keeps XLA from undoing it.
    """
    return jax.lax.dot_general(x, jax.lax.optimization_barrier(kernel.T), (((x.ndim - 1,), (1,)), ((), ())), **options)


class AttentionBlock(nnx.Module):
    r"""h + attention(h), and then h + W silu(V h), each of which reads scale(c) * norm(h) + shift(c).

    In the first half every place asks, $q_i$, every place offers, $k_j$, and place i receives the mean of what the
    others hold, $v_j$, with weights $\propto \exp(q_i \cdot k_j/\sqrt{d})$, in each head, of width d, for itself. The
    second half is a layer at each place alone.

    Args:
      width: of the stream h, shape (n, places, width).  heads: a divisor of it.
      condition: length of c.  rngs: for the start.
    Raises: ValueError: if the heads do not divide the width.
    References: Vaswani et al. 2017, section 3.2 (attention); Peebles & Xie 2023, section 3.2 (scale and shift).

    >>> block = AttentionBlock(8, 2, 4, rngs=nnx.Rngs(0))
    >>> block(jnp.zeros((3, 5, 8)), jnp.zeros((3, 4))).shape
    (3, 5, 8)
    """

    def __init__(self, width: int, heads: int, condition: int, *, rngs: nnx.Rngs):
        require(
            heads >= 1 and width % heads == 0,
            f"AttentionBlock needs heads that divide the width, got {heads=}, {width=}; take a width of 32 a head",
        )
        zero, self.heads = nnx.initializers.zeros_init(), heads
        self.norm = nnx.LayerNorm(width, use_bias=False, use_scale=False, rngs=rngs)
        self.tell = nnx.Linear(condition, 4 * width, rngs=rngs)
        self.ask = nnx.Linear(width, 3 * width, use_bias=False, rngs=rngs)
        self.answer = nnx.Linear(width, width, kernel_init=zero, dot_general=turned, rngs=rngs)
        self.up = nnx.Linear(width, 2 * width, dot_general=turned, rngs=rngs)
        self.down = nnx.Linear(2 * width, width, kernel_init=zero, dot_general=turned, rngs=rngs)

    def _asked(self, h, scale, shift):
        """Questions, keys and values, each of shape (n, places, heads, width / heads)."""
        x = self.norm(h).astype(h.dtype) * (1 + scale) + shift
        kernels = jnp.split(self.ask.kernel[...].astype(x.dtype), 3, axis=1)
        return [turned(x, kernel, None).reshape(*h.shape[:2], self.heads, -1) for kernel in kernels]

    def weights(self, h, c):
        """Who looks at whom, shape (n, heads, places, places); what a place gives to all, itself too, sums to 1."""
        scale, shift, *_ = jnp.split(self.tell(c)[:, None], 4, axis=-1)
        q, k, _ = self._asked(h, scale, shift)
        return jax.nn.softmax(jnp.einsum("nihd,njhd->nhij", q, k) / np.sqrt(q.shape[-1]))

    def __call__(self, h, c):
        scale, shift, scale2, shift2 = jnp.split(self.tell(c)[:, None], 4, axis=-1)
        h = h + self.answer(jax.nn.dot_product_attention(*self._asked(h, scale, shift)).reshape(h.shape))
        return h + self.down(nnx.silu(self.up(self.norm(h).astype(h.dtype) * (1 + scale2) + shift2)))
