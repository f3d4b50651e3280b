"""A U-Net for 28 x 28 pictures: convolutions, attention, and a dense middle.

Its outer level is convolutions, which know what a neighbourhood is; at 7 x 7 the places look at one another; the middle
is a residual network on the whole picture at once. The further in, the larger the matrix products, which every
processor does fast; so most of the work is there, and on the outer level one convolution reads and one block writes.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from diffbook._checks import require, require_count
from diffbook.generative.attention import AttentionBlock
from diffbook.generative.lean import in_halves, layer_norm, modulated_norm, row_product, silu
from diffbook.generative.networks import Block, Condition


def patches(x, size: int):
    """Patches of size x size pixels as channels: (n, h, w, c) -> (n, h/size, w/size, size*size*c)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // size, size, w // size, size, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // size, w // size, size * size * c)


def pixels(x, size: int):
    """The inverse of `patches`: (n, h, w, size*size*c) -> (n, h*size, w*size, c)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, size, size, c // size**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * size, w * size, c // size**2)


def _moved(x, by: int, axis: int):
    """x one place on (by = 1) or back (by = -1) along an axis, with zeros from beyond the edge."""
    gap = [(0, 0, 0)] * x.ndim
    gap[axis] = (by, -by, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), gap)


class Conv(nnx.Module):
    """A 3 x 3 convolution with zeros beyond the edge, as one matrix product.

    At each place the rows above, here and below, side by side, meet the three columns of the filter; what they give is
    moved one place to the right, not at all and one place to the left, and added. XLA's own convolution is fast on a
    CPU at the top level of a program. Inside a compiled loop, where training and sampling live, its gradient takes ten
    to forty times as long; matrix products are fast in both places.
    """

    def __init__(self, channels_in: int, channels_out: int, *, rngs: nnx.Rngs, **init):
        self.linear = nnx.Linear(9 * channels_in, channels_out, rngs=rngs, **init)

    def __call__(self, x):
        n, h, w, c = x.shape
        x = jax.lax.optimization_barrier(x)  # or each of the three rows would compute it for itself
        kernel, bias = self.linear.kernel[...].astype(x.dtype), self.linear.bias[...].astype(x.dtype)
        columns = kernel.reshape(3, 3, c, -1).transpose(0, 2, 1, 3).reshape(3 * c, -1)
        rows = jnp.concatenate([_moved(x, 1, 1), x, _moved(x, -1, 1)], -1).reshape(-1, 3 * c)
        left, here, right = jnp.split((rows @ columns).reshape(n, h, w, -1), 3, -1)
        return _moved(left, 1, 2) + here + _moved(right, -1, 2) + bias[None, None, None]


class ConvBlock(nnx.Module):
    """x + W * silu(V * (scale(c) norm(x) + shift(c))), with V a 3 x 3 convolution and W another."""

    def __init__(self, width: int, condition: int, *, dtype=None, rngs: nnx.Rngs):
        zero = nnx.initializers.zeros_init()
        self.tell = nnx.Linear(condition, 2 * width, dtype=dtype, rngs=rngs)
        self.first = Conv(width, width, rngs=rngs)
        self.second = Conv(width, width, kernel_init=zero, rngs=rngs)

    def __call__(self, h, c):
        scale, shift = jnp.split(self.tell(c)[:, None, None], 2, axis=-1)
        return h + self.second(silu(self.first(modulated_norm(h, scale, shift))))


class UNet(nnx.Module):
    """Convolutions at 14 x 14, attention between 7 x 7 places, and a residual network on all of the picture at once.

    Every level is told the noise level and the class. What goes down one side comes across to the other.

    Args:
      fine, coarse: channels at 14 x 14 and at 7 x 7.  heads: of the attention, a divisor of `coarse`.
      attention: blocks of it on the way down and on the way up.  thin: channels that the middle reads at 7 x 7.
      width, depth: of the middle, a stack of `Block`.  num_classes: label `num_classes`, or None, says "no class".
      condition: size of the vector that carries noise level and class.
      dtype: of the arithmetic between input and output, e.g. jnp.bfloat16, which suits TPUs and recent graphics cards;
        the parameters stay in single precision. The input's if left out.
      rngs: for the start.
    References: Ronneberger, Fischer & Brox 2015 (the shape); Ho et al. 2020, appendix B (as a denoiser).

    >>> model = UNet(fine=4, coarse=8, attention=(1, 1), thin=2, width=16, rngs=nnx.Rngs(0))
    >>> nnx.jit(model)(jnp.zeros((5, 28, 28, 1)), 0.3, jnp.arange(5)).shape
    (5, 28, 28, 1)
    """

    shape = (28, 28, 1)

    def __init__(
        self,
        *,
        fine: int = 32,
        coarse: int = 128,
        heads: int = 4,
        attention: tuple[int, int] = (2, 3),
        thin: int = 16,
        width: int = 384,
        depth: int = 1,
        num_classes: int = 10,
        condition: int = 128,
        dtype=None,
        rngs: nnx.Rngs,
    ):
        sizes = dict(fine=fine, coarse=coarse, thin=thin, width=width, depth=depth)
        sizes |= {f"attention[{i}]": count for i, count in enumerate(attention)}
        for name, value in (sizes | dict(num_classes=num_classes)).items():
            require_count(value, name, "UNet", 1)

        told = dict(dtype=dtype, rngs=rngs)
        linear = partial(nnx.Linear, dot_general=row_product, **told)

        def attentive(count):
            return nnx.Sequential(*[AttentionBlock(coarse, heads, condition, **told) for _ in range(count)])

        self.num_classes, self.dtype = num_classes, dtype
        self.condition = Condition(condition, num_classes=num_classes + 1, rngs=rngs)
        self.into = Conv(4, fine, rngs=rngs)
        self.down = linear(4 * fine, coarse)
        self.places = nnx.Embed(49, coarse, embedding_init=nnx.initializers.normal(0.02), rngs=rngs)
        self.down2 = attentive(attention[0])
        self.thin = linear(coarse, thin)
        self.flat = linear(49 * thin, width)
        self.blocks = nnx.Sequential(*[Block(width, condition, **told) for _ in range(depth)])
        self.unflat = linear(width, 49 * thin)
        self.thick = linear(thin, coarse)
        self.up2 = attentive(attention[1])
        self.up = linear(coarse, 4 * fine)
        self.up1 = ConvBlock(fine, condition, **told)
        self.out = linear(fine, 4, kernel_init=nnx.initializers.zeros_init())

    def __call__(self, x, t, label=None):
        require(x.shape[1:] == self.shape, f"UNet needs pictures of shape (n, 28, 28, 1), got {x.shape}; pad or crop")
        c = self.condition(x, t, jnp.full(len(x), self.num_classes) if label is None else label)
        return in_halves(self._told, x, c)

    def _told(self, x, c):
        """The rest of it, once the condition is known; each picture for itself."""
        n, asked, dtype = len(x), x.dtype, self.dtype or x.dtype
        x, c = x.astype(dtype), c.astype(dtype)  # the time is told in the precision that it came in
        fine = self.into(patches(x, 2))
        coarse = self.down(patches(fine, 2)).reshape(n, 49, -1) + self.places.embedding[...].astype(x.dtype)[None]
        for block in self.down2.layers:
            coarse = block(coarse, c)
        middle = self.flat(self.thin(coarse).reshape(n, -1))
        for block in self.blocks.layers:
            middle = block(middle, c)
        coarse = coarse + self.thick(self.unflat(middle).reshape(n, 49, -1))
        for block in self.up2.layers:
            coarse = block(coarse, c)
        fine = fine + pixels(self.up(coarse).reshape(n, 7, 7, -1), 2)
        return pixels(self.out(layer_norm(self.up1(fine, c)).astype(dtype)), 2).astype(asked)
