"""Attention: the mean that the weights say, no order of the places, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

from diffbook.generative.attention import AttentionBlock, looks

WIDTH, HEADS, CONDITION = 12, 3, 5
LAYERS = ("tell", "ask", "answer", "up", "down")


@pytest.fixture(scope="module")
def block():
    graph, params = nnx.split(AttentionBlock(WIDTH, HEADS, CONDITION, rngs=nnx.Rngs(0)))
    draws = np.random.default_rng(1)  # some layers start at zero
    return nnx.merge(graph, jax.tree.map(lambda p: p + 0.3 * draws.normal(size=p.shape).astype(np.float32), params))


@pytest.fixture(scope="module")
def given():
    draws = np.random.default_rng(2)
    return tuple(jnp.asarray(draws.normal(size=shape), jnp.float32) for shape in ((2, 7, WIDTH), (2, CONDITION)))


def test_each_place_receives_the_mean_that_its_weights_say(block, given):
    h, c = (np.asarray(a, np.float64) for a in given)
    parts = {name: np.asarray(getattr(block, name).kernel[...], np.float64) for name in LAYERS}
    bias = {name: np.asarray(getattr(block, name).bias[...]) for name in LAYERS if name != "ask"}
    scale, shift, scale2, shift2 = np.split(c @ parts["tell"] + bias["tell"], 4, axis=1)

    def norm(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)

    w, out = np.asarray(block.weights(*given)), []
    np.testing.assert_allclose(w.sum(-1), 1.0, rtol=1e-6)
    for n in range(2):
        asked = ((norm(h[n]) * (1 + scale[n]) + shift[n]) @ parts["ask"]).reshape(7, 3, HEADS, -1)
        heads = []
        for head in range(HEADS):
            q, k, v = asked[:, :, head].transpose(1, 0, 2)
            fit = np.exp(q @ k.T / np.sqrt(WIDTH / HEADS))
            fit /= fit.sum(1, keepdims=True)
            np.testing.assert_allclose(w[n, head], fit, rtol=1e-4)
            heads.append(fit @ v)
        row = h[n] + np.concatenate(heads, 1) @ parts["answer"] + bias["answer"]
        read = (norm(row) * (1 + scale2[n]) + shift2[n]) @ parts["up"] + bias["up"]
        out.append(row + (read / (1 + np.exp(-read))) @ parts["down"] + bias["down"])
    np.testing.assert_allclose(block(*given), np.stack(out), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("first", (jax.jacfwd, jax.jacrev))
@pytest.mark.parametrize("second", (jax.jacfwd, jax.jacrev))
def test_its_derivatives_are_those_of_the_formula_written_plainly(first, second):
    draws = np.random.default_rng(4)
    q, k = (jnp.asarray(draws.normal(size=(2, 3, 2)), jnp.float32) for _ in range(2))

    def plainly(q, k):
        return jax.nn.softmax(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1]))

    for derivative in (first, lambda f, which: second(first(f, which), which)):
        for got, wanted in zip(derivative(looks, (0, 1))(q, k), derivative(plainly, (0, 1))(q, k), strict=True):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, wanted)


def test_it_knows_no_order_of_the_places(block, given):
    h, c = given
    order = np.random.default_rng(3).permutation(7)
    np.testing.assert_allclose(block(h[:, order], c), block(h, c)[:, order], rtol=1e-4, atol=1e-4)


def test_a_fresh_block_changes_nothing(given):
    fresh = AttentionBlock(WIDTH, HEADS, CONDITION, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(fresh(*given), given[0])


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(block, given, platform):
    graph, params = nnx.split(block)
    leaves, tree = jax.tree.flatten(params)

    def run(leaves, h, c):
        return nnx.merge(graph, jax.tree.unflatten(tree, leaves))(h, c)

    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (leaves, *given))
    assert export.export(jax.jit(run), platforms=[platform])(*shapes).platforms == (platform,)


def test_bad_input():
    with pytest.raises(ValueError, match="heads that divide the width"):
        AttentionBlock(8, 3, 4, rngs=nnx.Rngs(0))
