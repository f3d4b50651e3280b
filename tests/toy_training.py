"""A small network on two-dimensional data, trained in a second: what the tests of training share."""

import jax
import numpy as np
import optax
from flax import nnx

from diffbook.generative import denoising_loss, straight
from diffbook.generative.networks import MLP
from diffbook.generative.training import fit, minibatches

ADAM = optax.adam(1e-2)
DATA = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)


def loss(model, batch, key):
    return denoising_loss(model, batch[0], straight(), key=key, predict="velocity")


def network(seed=0):
    return MLP((2, 16, 16, 2), rngs=nnx.Rngs(seed))


def train(model, num_steps=40, **changes):
    settings = {
        "key": jax.random.key(1),
        "optimizer": ADAM,
        "every": 10,
        "save_every": 15,
        "progress": False,
    } | changes
    batches = settings.pop("batches", minibatches((DATA,), 64, key=jax.random.key(2)))
    return list(fit(model, batches, settings.pop("loss", loss), num_steps=num_steps, **settings))


def leaves(model):
    return [np.asarray(x) for x in jax.tree.leaves(nnx.state(model, nnx.Param))]


def same_bits(a, b):
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(leaves(a), leaves(b), strict=True))
