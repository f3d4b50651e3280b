"""A network for films, shape (n, frames, h, w, c), that works on space and on time in turn.

Within a frame a layer sees all pixels of that frame and no other; between frames it sees a short summary of each. Both
are large matrix products, which every processor does fast.
"""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from diffbook._checks import require, require_count
from diffbook.generative.networks import Block, Condition


class Told(NamedTuple):
    """What is known of films before they are made: handed to a model in the place of a label.

    Args:
      label: class of each, shape (n,), or None for a network without classes.
      frames: films of which some frames count, shape (n, frames, h, w, c); the others are not looked at.
      given: which frames count, booleans, shape (n, frames).
    """

    label: ArrayLike | None
    frames: ArrayLike
    given: ArrayLike


class TimeBlock(nnx.Module):
    """Each frame adds what it reads in the mixed summaries of all frames: h + R mix(S ((1 + scale) * norm(h) + shift)).

    Args:
      num_frames, width: of the stream h, shape (n, num_frames, width).  condition: length of what steers it.
      summary: numbers that a frame tells the others.  rngs: for the start.
    """

    def __init__(self, num_frames: int, width: int, condition: int, summary: int, *, rngs: nnx.Rngs):
        size = num_frames * summary
        self.norm = nnx.LayerNorm(width, use_bias=False, use_scale=False, rngs=rngs)
        self.tell = nnx.Linear(condition, 2 * width, rngs=rngs)
        self.write = nnx.Linear(width, summary, rngs=rngs)
        self.up = nnx.Linear(size, 2 * size, rngs=rngs)
        self.down = nnx.Linear(2 * size, size, rngs=rngs)
        self.read = nnx.Linear(summary, width, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(self, h, c):
        scale, shift = jnp.split(self.tell(c), 2, axis=-1)
        summaries = self.write(self.norm(h) * (1 + scale) + shift)
        mixed = self.down(nnx.silu(self.up(summaries.reshape(len(h), -1))))
        return h + self.read(mixed.reshape(summaries.shape))


class VideoMixer(nnx.Module):
    """Blocks that mix frames in time and pixels in space by turns, steered by noise level, class and given frames.

    Without its time blocks (`time=False`) it is a network for single frames that is applied to each: frame i of what
    comes out then depends on frame i of what goes in, and on nothing else.

    Args:
      shape: of a film, (frames, h, w, c).  width: numbers that describe a frame within.  depth: pairs of blocks.
      summary: numbers that a frame tells the others.  num_classes: 0 for none.
      time: whether frames tell each other anything.  rngs: for the start.
    Raises: ValueError: for a bad shape, or films of another one.
    References: the factorisation into space and time follows Ho et al. 2022, section 3; its layers are those of
      `networks.ResidualMLP`, and no attention.

    >>> model = VideoMixer((4, 8, 12, 1), width=32, num_classes=10, rngs=nnx.Rngs(0))
    >>> films = jnp.zeros((5, 4, 8, 12, 1))
    >>> model(films, 0.3, jnp.arange(5)).shape
    (5, 4, 8, 12, 1)
    >>> first = jnp.arange(4)[None] < jnp.ones((5, 1))
    >>> model(films, 0.3, Told(jnp.arange(5), films, first)).shape
    (5, 4, 8, 12, 1)
    """

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        *,
        width: int = 192,
        depth: int = 3,
        summary: int = 16,
        num_classes: int = 0,
        time: bool = True,
        rngs: nnx.Rngs,
    ):
        require(
            len(shape) == 4 and all(n >= 1 for n in shape),
            f"VideoMixer needs shape (frames, h, w, c), got {shape=}; leave the number of films away",
        )
        for value, name in ((width, "width"), (depth, "depth"), (summary, "summary")):
            require_count(value, name, "VideoMixer", 1)
        self.shape = tuple(shape)
        frames, pixels = shape[0], shape[1] * shape[2] * shape[3]
        self.condition = Condition(64, num_classes=num_classes, rngs=rngs)
        self.into = nnx.Linear(pixels, width, rngs=rngs)
        self.given = nnx.Linear(pixels + 1, width, use_bias=False, rngs=rngs)
        self.number = nnx.Embed(frames, width, rngs=rngs)
        self.space = nnx.Sequential(*[Block(width, 64, rngs=rngs) for _ in range(depth)])
        blocks = [TimeBlock(frames, width, 64, summary, rngs=rngs) for _ in range(depth if time else 0)]
        self.time = nnx.Sequential(*blocks)
        self.norm = nnx.LayerNorm(width, use_bias=False, use_scale=False, rngs=rngs)
        self.out = nnx.Linear(width, pixels, rngs=rngs)

    def __call__(self, x, t, label=None):
        require(
            x.shape[1:] == self.shape,
            f"VideoMixer needs films of shape (n, {', '.join(map(str, self.shape))}), got {x.shape}; "
            "it was made for one number of frames",
        )
        told = label if isinstance(label, Told) else Told(label, jnp.zeros_like(x), jnp.zeros(x.shape[:2], bool))
        c = self.condition(x, t, told.label)[:, None]
        given = jnp.asarray(told.given, x.dtype)[:, :, None]
        known = jnp.concatenate([given * jnp.reshape(told.frames, (*x.shape[:2], -1)), given], axis=-1)
        h = self.into(x.reshape(*x.shape[:2], -1)) + self.given(known)
        h = h + self.number(jnp.arange(self.shape[0]))[None]
        for i, space in enumerate(self.space.layers):
            if len(self.time.layers):
                h = self.time.layers[i](h, c)
            h = space(h, c)
        return self.out(self.norm(h)).reshape(x.shape)
