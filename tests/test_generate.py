"""Generated pictures: range, classes, keys, bad input, and the quality of a small sample."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filled import filled
from flax import nnx
from jax import export

from diffbook.generative import ddim, generate, pretrained, sde_dpm_solver_pp_2m
from diffbook.generative.generate import _generate
from diffbook.generative.pretrained import SHIPPED
from diffbook.generative.unet import UNet

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def small():
    sizes = {"fine": 4, "coarse": 8, "thin": 2, "width": 16, "depth": 1, "condition": 8}
    return filled(lambda: UNet(**sizes, rngs=nnx.Rngs(0)), 0.2)


def test_shape_range_and_keys(small):
    a = generate(small, [0, 1, 2], key=KEY, num_steps=3)
    assert a.shape == (3, 28, 28, 1) and a.dtype == jnp.float32
    assert bool((jnp.abs(a) <= 1).all())
    compiled = _generate._cache_size()
    assert jnp.array_equal(a, generate(small, jnp.array([0, 1, 2]), key=KEY, num_steps=3))
    assert not jnp.array_equal(a, generate(small, [0, 1, 3], key=KEY, num_steps=3))
    assert not jnp.array_equal(a, generate(small, [0, 1, 2], key=jax.random.key(1), num_steps=3))
    assert _generate._cache_size() == compiled  # labels and keys are no new shapes


def test_guidance_is_an_extrapolation(small):
    guided = generate(small, [0, 1, 2], key=KEY, num_steps=1, guidance=2.0, step=ddim)
    start = jax.random.normal(jax.random.split(KEY)[0], (3, 28, 28, 1))
    call = nnx.jit(lambda model, *args: model(*args))
    v = [call(small, start, 1.0, labels) for labels in (jnp.arange(3), jnp.full(3, 10))]
    x0 = -(3 * v[0] - 2 * v[1])  # at t = 1 the clean sample is minus v
    np.testing.assert_allclose(guided, jnp.clip(x0, -1, 1), atol=1e-4)


def test_guidance_in_an_interval(small):
    def draw(**options):
        return generate(small, [0, 1, 2], key=KEY, num_steps=4, guidance=2.0, **options)  # at t = 1, 0.72, 0.45, 0.20

    # Other programs round otherwise; the steps and the guidance enlarge it to some 1e-5, of pictures of size 1.
    np.testing.assert_allclose(draw(interval=(0.15, 1.0)), draw(), atol=1e-4)
    np.testing.assert_allclose(draw(interval=(0.25, 0.4)), generate(small, [0, 1, 2], key=KEY, num_steps=4), atol=1e-4)
    assert float(jnp.abs(draw(interval=(0.3, 0.6)) - draw()).max()) > 1e-2


def test_exports(small):
    graph, state = nnx.split(small)
    leaves, tree = jax.tree.flatten(state)
    fixed = dict(graph=graph, num_steps=3, step=sde_dpm_solver_pp_2m, guided=True, interval=(0.3, 0.8))

    def run(leaves, labels, key, guidance):
        return _generate(jax.tree.unflatten(tree, leaves), labels, key, guidance, **fixed)

    args = (leaves, jnp.zeros(2, jnp.int32), KEY, jnp.float32(0.5))
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), args)
    assert export.export(jax.jit(run), platforms=["cuda", "tpu"])(*shapes).platforms == ("cuda", "tpu")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": [0.5]}, "integer labels"),
        ({"labels": [[1]]}, "integer labels"),
        ({"labels": [11]}, r"0 \.\.\. 10"),
        ({"labels": [-1]}, r"0 \.\.\. 10"),
        ({"num_steps": 0}, "num_steps"),
        ({"guidance": -1.0}, "guidance"),
        ({"guidance": 1.0, "interval": (0.6, 0.4)}, "interval"),
        ({"key": 0}, "key"),
    ],
)
def test_bad_input(small, change, message):
    arguments = {"labels": [0], "key": KEY} | change
    with pytest.raises((ValueError, TypeError), match=message):
        generate(small, arguments.pop("labels"), **arguments)


@pytest.mark.long
def test_the_shipped_network_draws_what_it_is_asked_for():
    labels = jnp.arange(100) % 10
    pictures = generate(pretrained("fashion_mnist"), labels, key=KEY, num_steps=20)
    seen = pretrained("fashion_mnist_classifier")(pictures).argmax(1)
    stored = json.loads((SHIPPED / "fashion_mnist_quality.json").read_text())["ways"]["SDE, 50 calls"]["agreement"]
    error = (stored * (1 - stored) / 100) ** 0.5  # of a hundred pictures; those of the table are fifty times as many
    assert abs(float((seen == labels).mean()) - stored) < 4 * error
    same = pictures.reshape(10, 10, -1).std(0).mean()
    assert float(same) > 0.2  # ten pictures of a class are ten pictures
