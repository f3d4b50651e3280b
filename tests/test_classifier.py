"""The classifier: shapes, gradients, and what the shipped one reads on real pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

from diffbook.generative.classifier import Classifier


def test_features_are_what_the_logits_are_made_of():
    model = Classifier(width=4, num_features=6, rngs=nnx.Rngs(0))
    model.eval()
    x = jax.random.normal(jax.random.key(0), (3, 28, 28, 1))
    features = nnx.jit(lambda model, x: model.features(x))(model, x)
    assert features.shape == (3, 6) and bool((features >= 0).all())
    np.testing.assert_allclose(model.out(features), nnx.jit(lambda model, x: model(x))(model, x), rtol=1e-5, atol=1e-6)


def test_every_parameter_has_a_gradient():
    model = Classifier(width=4, num_features=6, dropout=0.0, rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    x = jax.random.normal(jax.random.key(0), (32, 28, 28, 1))
    loss = lambda params: jnp.sin(nnx.merge(graph, params, rest)(x)).sum()  # noqa: E731
    for path, gradient in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(params)):
        assert bool(jnp.abs(gradient).max() > 0), jax.tree_util.keystr(path)


def test_the_gradient_exports():
    model = Classifier(width=16, num_features=6, rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    leaves, tree = jax.tree.flatten(params)

    def slope(leaves, x):
        def total(leaves):
            return nnx.merge(graph, jax.tree.unflatten(tree, leaves), rest, copy=True)(x).sum()

        return jax.grad(total)(leaves)

    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (leaves, jnp.zeros((2, 28, 28, 1))))
    assert export.export(jax.jit(slope), platforms=["cuda", "tpu"])(*shapes).platforms == ("cuda", "tpu")


def test_bad_input():
    with pytest.raises(ValueError, match=r"\(n, 28, 28, 1\)"):
        nnx.eval_shape(lambda: Classifier(width=4, rngs=nnx.Rngs(0))(jnp.zeros((2, 14, 14, 4))))
