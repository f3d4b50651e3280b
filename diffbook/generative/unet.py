"""A U-Net for 28 x 28 pictures: convolutions, attention, and a dense middle.

Its outer level is convolutions, which know what a neighbourhood is; at 7 x 7 the places look at one another; the middle
is a residual network on the whole picture at once. The further in, the larger the matrix products, which every
processor does fast; so most of the work is there, and on the outer level one convolution reads and one block writes.
"""

from functools import partial

import jax.numpy as jnp
import numpy as np
from flax import nnx

from diffbook._checks import require, require_count
from diffbook.generative.attention import AttentionBlock
from diffbook.generative.lean import layer_norm, modulate, row_product, silu
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


# Winograd's numbers for two outputs of a filter of three taps: four products where the definition takes six.
_FILTER = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)


def _differences(a, b, c, d):
    """What meets the filter, of four values in a row."""
    return a - c, b + c, c - b, b - d


def _sums(a, b, c, d):
    """The two outputs, of four products."""
    return a + b + c, b - c - d


def _side_by_side(x, kernel):
    """The convolution as one product: at each place, its nine neighbours in a row."""
    h, w = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return jnp.concatenate([x[:, i : i + h, j : j + w] for i in range(3) for j in range(3)], -1) @ kernel


def _tiled(x, kernel):
    """The convolution as sixteen products: sums and differences of overlapping 4 x 4 tiles meet those of the filter."""
    n, h, w, c = x.shape
    down, across = (h + 1) // 2, (w + 1) // 2  # tiles; the last may reach beyond the edge
    x = jnp.pad(x, ((0, 0), (1, 2 * down - h + 1), (1, 2 * across - w + 1), (0, 0)))
    x = x.reshape(n, down + 1, 2, across + 1, 2, c)
    tiles = [
        tile
        for row in _differences(x[:, :-1, 0], x[:, :-1, 1], x[:, 1:, 0], x[:, 1:, 1])
        for tile in _differences(row[:, :, :-1, 0], row[:, :, :-1, 1], row[:, :, 1:, 0], row[:, :, 1:, 1])
    ]
    numbers = _FILTER.astype(x.dtype)
    filters = jnp.einsum("ai,ijco,bj->abco", numbers, kernel.reshape(3, 3, c, -1), numbers)
    products = jnp.einsum("tpi,tio->tpo", jnp.stack(tiles).reshape(16, -1, c), filters.reshape(16, c, -1))
    halves = _sums(*products.reshape(4, 4, n, down, across, -1))
    out = jnp.stack([jnp.stack(_sums(*half), 3) for half in halves], 2).reshape(n, 2 * down, 2 * across, -1)
    return out[:, :h, :w]


class Conv(nnx.Module):
    """A 3 x 3 convolution with zeros beyond the edge, as sixteen matrix products (Winograd's algorithm).

    The picture is cut into overlapping tiles of 4 x 4; sums and differences of a tile meet sums and differences of the
    filter, and what comes out is the 2 x 2 middle, with 16 products where the definition takes 36. With few channels
    the sums would cost more than the products, and the definition is one product. XLA's own convolution is fast on a
    CPU at the top level of a program. Inside a compiled loop, where training and sampling live, its gradient takes ten
    to forty times as long; matrix products are fast in both places.

    References: Winograd 1980; Lavin & Gray 2016, section 4.1.
    """

    few = 16  # channels

    def __init__(self, channels_in: int, channels_out: int, *, rngs: nnx.Rngs, **init):
        self.linear = nnx.Linear(9 * channels_in, channels_out, rngs=rngs, **init)

    def __call__(self, x):
        convolve = _side_by_side if x.shape[-1] < self.few else _tiled
        kernel, bias = self.linear.kernel[...].astype(x.dtype), self.linear.bias[...].astype(x.dtype)
        return convolve(x, kernel) + bias[None, None, None]


class ConvBlock(nnx.Module):
    """x + W * silu(V * (scale(c) norm(x) + shift(c))), with V a 3 x 3 convolution and W another."""

    def __init__(self, width: int, condition: int, *, dtype=None, rngs: nnx.Rngs):
        zero = nnx.initializers.zeros_init()
        self.tell = nnx.Linear(condition, 2 * width, dtype=dtype, rngs=rngs)
        self.first = Conv(width, width, rngs=rngs)
        self.second = Conv(width, width, kernel_init=zero, rngs=rngs)

    def __call__(self, h, c):
        scale, shift = jnp.split(self.tell(c)[:, None, None], 2, axis=-1)
        return h + self.second(silu(self.first(modulate(layer_norm(h).astype(h.dtype), scale, shift))))


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
        n = len(x)
        c = self.condition(x, t, jnp.full(n, self.num_classes) if label is None else label)
        asked, dtype = x.dtype, self.dtype or x.dtype
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
