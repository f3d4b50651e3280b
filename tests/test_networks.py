"""Networks: shapes, and that every parameter is found, trained and heeded."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filled import filled
from flax import nnx
from jax import export

from diffbook.generative import convert, straight, vp_linear
from diffbook.generative.networks import MLP, AroundGaussian, ResidualMLP, time_features

SAMPLES = np.random.default_rng(0).normal(size=(50, 2, 3)).astype(np.float32)


# No test changes a network: each kind is made once.
@cache
def mlp(num_classes=0):
    return filled(lambda: MLP((6, 16, 12, 6), num_classes=num_classes, rngs=nnx.Rngs(0)), 0.4)


@cache
def residual(num_classes=0):
    return filled(lambda: ResidualMLP(6, width=16, depth=2, num_classes=num_classes, rngs=nnx.Rngs(0)), 0.4)


@cache
def around(num_classes=0):
    return AroundGaussian(residual(num_classes), SAMPLES, vp_linear(), limit=50.0)


def answers(model):
    """The network as one compiled function of (x, t, label)."""
    graph, state = nnx.split(model)
    run = jax.jit(lambda state, x, t, label: nnx.merge(graph, state)(x, t, label))
    return lambda x, t, label=None: run(state, x, t, label)


NETWORKS = [mlp, residual, around]
each = pytest.mark.parametrize("make", NETWORKS)


@each
@pytest.mark.parametrize("num_classes", [0, 4])
def test_every_parameter_has_a_gradient(make, num_classes):
    model = make(num_classes)
    x = jax.random.normal(jax.random.key(0), (32, 2, 3))
    label = jnp.arange(32) % 4 if num_classes else None
    t = jnp.linspace(0.05, 0.95, 32)
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def loss(params):
        return jnp.sum(jnp.sin(nnx.merge(graph, params, rest)(x, t, label)))

    gradients = jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(params))
    assert len(gradients) > 6
    for path, gradient in gradients:
        norms = np.abs(gradient).reshape(len(gradient), -1).sum(1)
        assert (norms > 0).mean() > 0.9, jax.tree_util.keystr(path)


@each
def test_the_output_depends_on_every_input(make):
    model = answers(make(4))
    x, label = jax.random.normal(jax.random.key(0), (5, 2, 3)), jnp.arange(5) % 4
    out = model(x, 0.3, label)
    assert out.shape == x.shape and out.dtype == x.dtype
    same = model(x, jnp.full(5, 0.3), label)  # scalar time is the same time for all
    np.testing.assert_allclose(same, out, rtol=1e-5, atol=1e-6)
    assert not np.allclose(out, model(x, 0.301, label))
    assert not np.allclose(out, model(x, 0.3, (label + 1) % 4))
    others = jnp.where(jnp.arange(5)[:, None, None] == 2, x, 7.0)
    np.testing.assert_allclose(model(others, 0.3, label)[2], out[2], rtol=1e-4, atol=1e-5)  # samples see no other


@each
def test_labels_and_classes_go_together(make):
    x = jnp.ones((5, 2, 3))
    assert jax.eval_shape(make(), x, 0.3).shape == x.shape
    with pytest.raises(ValueError, match="without classes got label"):
        jax.eval_shape(make(), x, 0.3, jnp.arange(5))
    with pytest.raises(ValueError, match="with classes got label=None"):
        jax.eval_shape(make(4), x, 0.3)


def test_time_features_tell_neighbouring_steps_apart():
    t = jnp.arange(1, 1001) / 1000
    features = np.asarray(jax.jit(time_features)(t))
    assert features.shape == (1000, 64) and (np.abs(features) <= 1).all()
    gaps = np.linalg.norm(np.diff(features, axis=0), axis=1)
    assert gaps.min() > 0.5
    np.testing.assert_allclose(features[0, [0, 32]], [np.sin(1e-3), np.cos(1e-3)], rtol=1e-5)


def zero(x, t, label):
    return jnp.zeros_like(x)


def one(x, t, label):
    return jnp.ones_like(x)


@pytest.mark.parametrize("schedule", [vp_linear(), straight()], ids=["vp_linear", "straight"])
def test_around_gaussian_starts_from_the_exact_answer(schedule):
    """-sigma times the score of N(alpha m, alpha^2 C + sigma^2), by inverting the covariance."""
    flat = SAMPLES.reshape(50, 6).astype(np.float64)
    mean, cov = flat.mean(0), np.cov(flat.T)
    x = np.random.default_rng(1).normal(size=(4, 6))
    model, network = (answers(AroundGaussian(f, SAMPLES, schedule)) for f in (zero, one))
    for t in (0.01, 0.4, 0.9):
        alpha, var = float(schedule.alpha(t)), float(schedule.var(t))
        exact = np.sqrt(var) * np.linalg.solve(alpha**2 * cov + var * np.eye(6), (x - alpha * mean).T).T
        got = model(jnp.asarray(x.reshape(4, 2, 3), jnp.float32), t)
        np.testing.assert_allclose(np.asarray(got).reshape(4, 6), exact, rtol=1e-3, atol=1e-4)
        more = network(jnp.asarray(x.reshape(4, 2, 3), jnp.float32), t) - got
        np.testing.assert_allclose(more, alpha, rtol=1e-3, atol=1e-5)


def test_around_gaussian_bears_pixels_that_never_change():
    samples = SAMPLES.copy()
    samples[:, 0, 0] = -1.0
    out = answers(AroundGaussian(zero, samples, vp_linear()))(jnp.ones((2, 2, 3)), jnp.array([1e-3, 1.0]))
    assert np.isfinite(out).all()


def test_around_gaussian_bears_the_end_where_no_signal_is_left():
    out = answers(AroundGaussian(one, SAMPLES, straight()))(jnp.ones((1, 2, 3)), 1.0)
    np.testing.assert_allclose(out, 1.0)  # all of it is noise


def test_the_clean_sample_stays_within_the_limit_and_only_it_is_changed():
    x, t, samples = 3 * jax.random.normal(jax.random.key(0), (40, 2, 3)), 0.2, np.clip(SAMPLES, -1, 1)
    free, clipped = (AroundGaussian(one, samples, vp_linear(), limit=limit) for limit in (None, 1.0))

    def clean(model):
        return jax.jit(lambda x: convert(model(x, t), x, t, vp_linear(), source="eps", to="x0"))(x)

    before, after = np.asarray(clean(free)), clean(clipped)
    assert np.abs(before).max() > 1.5
    np.testing.assert_allclose(after, np.clip(before, -1, 1), atol=1e-5)


def test_around_gaussian_does_not_train_its_gaussian():
    model = around()
    everything = jax.tree.leaves(nnx.state(model))
    assert len(everything) == len(jax.tree.leaves(nnx.state(model, nnx.Param))) + 3


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@each
def test_exports(make, platform):
    graph, state = nnx.split(make(4))

    def f(leaves, x, t, label):
        return nnx.merge(graph, jax.tree.unflatten(jax.tree.structure(state), leaves))(x, t, label)

    args = (jax.tree.leaves(state), jnp.ones((5, 2, 3)), jnp.ones(5), jnp.arange(5))
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), args)
    assert export.export(jax.jit(f), platforms=[platform])(*shapes).platforms == (platform,)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: MLP((2, 2), rngs=nnx.Rngs(0)), "one hidden width or more"),
        (lambda: MLP((2, 8, 3), rngs=nnx.Rngs(0)), r"\(size, hidden ..., size\)"),
        (lambda: MLP((2, 0, 2), rngs=nnx.Rngs(0)), "features >= 1"),
        (lambda: ResidualMLP(6, depth=0, rngs=nnx.Rngs(0)), "depth >= 1"),
        (lambda: AroundGaussian(zero, SAMPLES[:1], vp_linear()), "two finite samples"),
        (lambda: AroundGaussian(zero, SAMPLES, vp_linear(), limit=1.0), "limit >= the largest magnitude"),
        (lambda: AroundGaussian(zero, SAMPLES * np.nan, vp_linear()), "two finite samples"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
