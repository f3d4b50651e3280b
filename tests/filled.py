"""Networks for tests, filled by NumPy: their own random starts are many small programs to compile."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def filled(make, scale):
    """The network with random parameters: some start at zero, which hides others from the gradient."""
    graph, shapes = nnx.split(nnx.eval_shape(make))
    draw = np.random.default_rng(1)
    return nnx.merge(graph, jax.tree.map(lambda p: jnp.asarray(scale * draw.normal(size=p.shape), p.dtype), shapes))
