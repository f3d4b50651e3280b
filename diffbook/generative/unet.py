"""A U-Net for 28 x 28 pictures: convolutions, attention, and a dense middle.

Its outer level is convolutions, which know what a neighbourhood is; at 7 x 7 the places look at one another; the middle
is a residual network on the whole picture at once. The further in, the larger the matrix products, which every
processor does fast; so most of the work is there, and on the outer level one convolution reads and one block writes.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from diffbook._checks import require, require_count
from diffbook.generative.attention import AttentionBlock
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


class Conv(nnx.Module):
    """A 3 x 3 convolution with zeros beyond the edge, as sixteen matrix products (Winograd's algorithm).

    The picture is cut into overlapping tiles of 4 x 4; sums and differences of a tile meet sums and differences of the
    filter, and what comes out is the 2 x 2 middle, with 16 products where the definition takes 36. XLA's own
    convolution is fast on a CPU at the top level of a program. Inside a compiled loop, where training and sampling
    live, its gradient takes ten to forty times as long; matrix products are fast in both places.

    References: Winograd 1980; Lavin & Gray 2016, section 4.1.
    """

    def __init__(self, channels_in: int, channels_out: int, *, rngs: nnx.Rngs, **init):
        self.linear = nnx.Linear(9 * channels_in, channels_out, rngs=rngs, **init)

    def __call__(self, x):
        n, h, w, c = x.shape
        down, across = (h + 1) // 2, (w + 1) // 2  # tiles; the last may reach beyond the edge
        x = jnp.pad(x, ((0, 0), (1, 2 * down - h + 1), (1, 2 * across - w + 1), (0, 0)))
        x = x.reshape(n, down + 1, 2, across + 1, 2, c)
        tiles = [
            tile
            for row in _differences(x[:, :-1, 0], x[:, :-1, 1], x[:, 1:, 0], x[:, 1:, 1])
            for tile in _differences(row[:, :, :-1, 0], row[:, :, :-1, 1], row[:, :, 1:, 0], row[:, :, 1:, 1])
        ]
        kernel = self.linear.kernel[...].astype(x.dtype).reshape(3, 3, c, -1)
        filters = jnp.einsum("ai,ijco,bj->abco", _FILTER.astype(x.dtype), kernel, _FILTER.astype(x.dtype))
        products = jnp.einsum("tpi,tio->tpo", jnp.stack(tiles).reshape(16, -1, c), filters.reshape(16, c, -1))
        halves = _sums(*products.reshape(4, 4, n, down, across, -1))
        out = jnp.stack([jnp.stack(_sums(*half), 3) for half in halves], 2).reshape(n, 2 * down, 2 * across, -1)
        return out[:, :h, :w] + self.linear.bias[...].astype(x.dtype)[None, None, None]


class ConvBlock(nnx.Module):
    """x + W * silu(V * (scale(c) norm(x) + shift(c))), with V a 3 x 3 convolution and W another."""

    def __init__(self, width: int, condition: int, *, rngs: nnx.Rngs):
        zero = nnx.initializers.zeros_init()
        self.norm = nnx.LayerNorm(width, use_bias=False, use_scale=False, rngs=rngs)
        self.tell = nnx.Linear(condition, 2 * width, rngs=rngs)
        self.first = Conv(width, width, rngs=rngs)
        self.second = Conv(width, width, kernel_init=zero, rngs=rngs)

    def __call__(self, h, c):
        scale, shift = jnp.split(self.tell(c)[:, None, None], 2, axis=-1)
        return h + self.second(nnx.silu(self.first(self.norm(h).astype(h.dtype) * (1 + scale) + shift)))


class UNet(nnx.Module):
    """Convolutions at 14 x 14, attention between 7 x 7 places, and a residual network on all of the picture at once.

    Every level is told the noise level and the class. What goes down one side comes across to the other.

    Args:
      fine, coarse: channels at 14 x 14 and at 7 x 7.  heads: of the attention, a divisor of `coarse`.
      attention: blocks of it on the way down and on the way up.  thin: channels that the middle reads at 7 x 7.
      width, depth: of the middle, a stack of `Block`.  num_classes: label `num_classes`, or None, says "no class".
      condition: size of the vector that carries noise level and class.  rngs: for the start.
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
        rngs: nnx.Rngs,
    ):
        sizes = dict(fine=fine, coarse=coarse, thin=thin, width=width, depth=depth)
        sizes |= {f"attention[{i}]": count for i, count in enumerate(attention)}
        for name, value in (sizes | dict(num_classes=num_classes)).items():
            require_count(value, name, "UNet", 1)

        def attentive(count):
            blocks = [AttentionBlock(coarse, heads, condition, rngs=rngs) for _ in range(count)]
            return nnx.Sequential(*blocks)

        self.num_classes = num_classes
        self.condition = Condition(condition, num_classes=num_classes + 1, rngs=rngs)
        self.into = Conv(4, fine, rngs=rngs)
        self.down = nnx.Linear(4 * fine, coarse, rngs=rngs)
        self.places = nnx.Embed(49, coarse, embedding_init=nnx.initializers.normal(0.02), rngs=rngs)
        self.down2 = attentive(attention[0])
        self.thin = nnx.Linear(coarse, thin, rngs=rngs)
        self.flat = nnx.Linear(49 * thin, width, rngs=rngs)
        self.blocks = nnx.Sequential(*[Block(width, condition, rngs=rngs) for _ in range(depth)])
        self.unflat = nnx.Linear(width, 49 * thin, rngs=rngs)
        self.thick = nnx.Linear(thin, coarse, rngs=rngs)
        self.up2 = attentive(attention[1])
        self.up = nnx.Linear(coarse, 4 * fine, rngs=rngs)
        self.up1 = ConvBlock(fine, condition, rngs=rngs)
        self.norm = nnx.LayerNorm(fine, use_bias=False, use_scale=False, rngs=rngs)
        self.out = nnx.Linear(fine, 4, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(self, x, t, label=None):
        require(x.shape[1:] == self.shape, f"UNet needs pictures of shape (n, 28, 28, 1), got {x.shape}; pad or crop")
        n = len(x)
        c = self.condition(x, t, jnp.full(n, self.num_classes) if label is None else label)
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
        return pixels(self.out(self.norm(self.up1(fine, c)).astype(x.dtype)), 2)
