"""Networks called as model(x, t, label): x of any shape (n, ...), t a scalar or one number per sample.

Every layer is an attribute, so that all parameters are found by `nnx.state`.
"""

import jax.numpy as jnp
from flax import nnx

from diffbook._checks import require, require_count


def time_features(t, num: int = 64, fastest: float = 1000.0):
    """Sines and cosines of t at frequencies from 1 to `fastest` in equal ratios: shape (n,) -> (n, num).

    The slow ones tell early from late, the fast ones one step from the next.

    References: Vaswani et al. 2017, section 3.5.
    """
    phases = t[:, None] * jnp.geomspace(1.0, fastest, num // 2, dtype=t.dtype)[None]
    return jnp.concatenate([jnp.sin(phases), jnp.cos(phases)], axis=-1)


class Condition(nnx.Module):
    """One vector per sample that says which noise level, and which class if there are classes."""

    def __init__(self, width: int, *, num_classes: int = 0, rngs: nnx.Rngs):
        self.first = nnx.Linear(64, width, rngs=rngs)
        self.second = nnx.Linear(width, width, rngs=rngs)
        self.classes = nnx.Embed(num_classes, width, rngs=rngs) if num_classes else None

    def __call__(self, x, t, label):
        t = jnp.broadcast_to(jnp.asarray(t, x.dtype), (len(x),))
        h = self.second(nnx.silu(self.first(time_features(t))))
        require(
            (label is None) == (self.classes is None),
            f"a network {'without' if self.classes is None else 'with'} classes got label={label!r}; "
            "set num_classes and pass one label per sample, or neither",
        )
        return nnx.silu(h if label is None else h + self.classes(label))


class MLP(nnx.Module):
    """Plain layers, each told the noise level: for data of a few dimensions.

    Args:
      features: (size of x, hidden widths ..., size of the output).  num_classes: 0 for none.  rngs: for the start.

    >>> model = MLP((2, 32, 32, 2), rngs=nnx.Rngs(0))
    >>> model(jnp.zeros((5, 2)), 0.3).shape
    (5, 2)
    """

    def __init__(self, features: tuple[int, ...], *, num_classes: int = 0, rngs: nnx.Rngs):
        require(len(features) >= 3, f"MLP needs (in, hidden ..., out), got {features=}; give one hidden width or more")
        for f in features:
            require_count(f, "features", "MLP", 1)
        hidden = features[1:-1]
        self.condition = Condition(hidden[0], num_classes=num_classes, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in zip(features[:-2], hidden, strict=True)])
        self.told = nnx.List([nnx.Linear(hidden[0], b, use_bias=False, rngs=rngs) for b in hidden])
        self.out = nnx.Linear(features[-2], features[-1], rngs=rngs)

    def __call__(self, x, t, label=None):
        c, h = self.condition(x, t, label), x.reshape(len(x), -1)
        for layer, told in zip(self.layers, self.told, strict=True):
            h = nnx.silu(layer(h) + told(c))
        return self.out(h).reshape((*x.shape[:-1], -1) if x.ndim == 2 else x.shape)
