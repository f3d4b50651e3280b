"""Networks called as model(x, t, label): x of any shape (n, ...), t a scalar or one number per sample.

Every layer is an attribute, so that all parameters are found by `nnx.state`.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from diffbook._checks import require, require_count
from diffbook.generative.schedules import Schedule


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
      features: (size of a sample, hidden widths ..., the size again).
      num_classes: 0 for none.  rngs: for the start.

    >>> model = MLP((2, 32, 32, 2), rngs=nnx.Rngs(0))
    >>> model(jnp.zeros((5, 2)), 0.3).shape
    (5, 2)
    """

    def __init__(self, features: tuple[int, ...], *, num_classes: int = 0, rngs: nnx.Rngs):
        require(
            len(features) >= 3 and features[0] == features[-1],
            f"MLP needs (size, hidden ..., size), got {features=}; give one hidden width or more",
        )
        hidden = tuple(require_count(f, "features", "MLP", 1) for f in features[1:-1])
        self.condition = Condition(hidden[0], num_classes=num_classes, rngs=rngs)
        pairs = list(zip(features[:-2], hidden, strict=True))
        self.layers = nnx.Sequential(*[nnx.Linear(a, b, rngs=rngs) for a, b in pairs])
        self.told = nnx.Sequential(*[nnx.Linear(hidden[0], b, use_bias=False, rngs=rngs) for _, b in pairs])
        self.out = nnx.Linear(hidden[-1], features[-1], rngs=rngs)

    def __call__(self, x, t, label=None):
        c, h = self.condition(x, t, label), x.reshape(len(x), -1)
        for layer, told in zip(self.layers.layers, self.told.layers, strict=True):
            h = nnx.silu(layer(h) + told(c))
        return self.out(h).reshape(x.shape)


class Block(nnx.Module):
    """x + W silu(V (scale(c) * norm(x) + shift(c))): the condition sets scale and shift of what the block reads."""

    def __init__(self, width: int, condition: int, *, dtype=None, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(width, use_bias=False, use_scale=False, rngs=rngs)
        self.tell = nnx.Linear(condition, 2 * width, dtype=dtype, rngs=rngs)
        self.up = nnx.Linear(width, 2 * width, dtype=dtype, rngs=rngs)
        zero = nnx.initializers.zeros_init()
        self.down = nnx.Linear(2 * width, width, kernel_init=zero, dtype=dtype, rngs=rngs)

    def __call__(self, h, c):
        scale, shift = jnp.split(self.tell(c), 2, axis=-1)
        return h + self.down(nnx.silu(self.up(self.norm(h).astype(h.dtype) * (1 + scale) + shift)))


class ResidualMLP(nnx.Module):
    """Blocks that each add a correction, steered by noise level and class: for small images, flattened.

    Nearly all its work is large matrix products, which every processor does fast.

    Args:
      size: numbers in a sample.  width: of the residual stream.  depth: number of blocks.
      num_classes: 0 for none.  rngs: for the start.
    References: He et al. 2016 (residuals); Peebles & Xie 2023, section 3.2 (scale and shift from the condition).

    >>> model = ResidualMLP(64, width=32, num_classes=10, rngs=nnx.Rngs(0))
    >>> model(jnp.zeros((5, 8, 8, 1)), 0.3, jnp.arange(5)).shape
    (5, 8, 8, 1)
    """

    def __init__(self, size: int, *, width: int = 256, depth: int = 3, num_classes: int = 0, rngs: nnx.Rngs):
        for value, name in ((size, "size"), (width, "width"), (depth, "depth")):
            require_count(value, name, "ResidualMLP", 1)
        self.condition = Condition(64, num_classes=num_classes, rngs=rngs)
        self.into = nnx.Linear(size, width, rngs=rngs)
        self.blocks = nnx.Sequential(*[Block(width, 64, rngs=rngs) for _ in range(depth)])
        self.norm = nnx.LayerNorm(width, use_bias=False, use_scale=False, rngs=rngs)
        self.out = nnx.Linear(width, size, rngs=rngs)

    def __call__(self, x, t, label=None):
        c, h = self.condition(x, t, label), self.into(x.reshape(len(x), -1))
        for block in self.blocks.layers:
            h = block(h, c)
        return self.out(self.norm(h)).reshape(x.shape)


class AroundGaussian(nnx.Module):
    r"""A noise prediction that leaves to the network only what Gaussian data would not have told.

    It estimates the clean sample as
    $\hat x_0 = m + \alpha C (\alpha^2 C + \sigma^2)^{-1} (x - \alpha m) - \sigma \cdot \text{network}(x, t)$,
    clips it to the range that samples have, and returns the noise that this means, $(x - \alpha \hat x_0)/\sigma$.
    Without the network it is the exact answer for data $\mathcal N(m, C)$. The best estimate, a mean of possible
    samples, never lies outside their range: clipping excludes no optimum.

    Args:
      network: called as network(x, t, label).
      samples: shape (n, ...), n >= 2; m and C are their mean and covariance.
      schedule: of the noise; t > 0.
      limit: largest magnitude of an entry of a sample; None for no clipping.

    >>> from diffbook.generative.schedules import vp_linear
    >>> data = jnp.array([[-1.0], [1.0]])
    >>> model = AroundGaussian(lambda x, t, label: jnp.zeros_like(x), data, vp_linear())
    >>> x, t = jnp.array([[0.7]]), 0.5
    >>> alpha, var = vp_linear().alpha(t), vp_linear().var(t)
    >>> bool(jnp.allclose(model(x, t), jnp.sqrt(var) * x / (2 * alpha**2 + var)))
    True
    """

    def __init__(self, network, samples, schedule: Schedule, *, limit: float | None = None):
        flat = np.asarray(samples, np.float64).reshape(len(samples), -1)
        require(
            len(flat) >= 2 and bool(np.isfinite(flat).all()),
            f"AroundGaussian needs two finite samples or more, got shape {np.shape(samples)}; pass the training set",
        )
        require(
            limit is None or np.abs(flat).max() <= limit,
            f"AroundGaussian needs limit >= the largest magnitude in the samples, {np.abs(flat).max():g}, got {limit=}"
            "; None clips nothing",
        )
        values, axes = np.linalg.eigh(np.atleast_2d(np.cov(flat, rowvar=False)))
        self.network, self.schedule, self.limit = network, schedule, limit
        self.mean = nnx.Variable(jnp.asarray(flat.mean(0), jnp.float32))
        self.spectrum = nnx.Variable(jnp.asarray(np.maximum(values, 0), jnp.float32))
        self.axes = nnx.Variable(jnp.asarray(axes, jnp.float32))

    def __call__(self, x, t, label=None):
        alpha, var = (c[:, None] for c in self._noise(x, t))
        mean, spectrum, axes = (v[...].astype(x.dtype) for v in (self.mean, self.spectrum, self.axes))
        flat = x.reshape(len(x), -1)
        gain = alpha * spectrum[None] / (alpha**2 * spectrum[None] + var)
        clean = mean[None] + (gain * ((flat - alpha * mean[None]) @ axes)) @ axes.T
        clean = clean - jnp.sqrt(var) * self.network(x, t, label).reshape(flat.shape)
        if self.limit is not None:
            clean = jnp.clip(clean, -self.limit, self.limit)
        return ((flat - alpha * clean) / jnp.sqrt(var)).reshape(x.shape)

    def _noise(self, x, t):
        t = jnp.broadcast_to(jnp.asarray(t, x.dtype), (len(x),))
        return self.schedule.alpha(t), self.schedule.var(t)
