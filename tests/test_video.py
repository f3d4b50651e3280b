"""The network for films: who sees whom, what it is told, and that every parameter is found, trained and heeded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filled import filled
from flax import nnx
from jax import export

from diffbook.generative import denoising_loss, vp_linear
from diffbook.generative.networks import AroundGaussian
from diffbook.generative.video import Told, VideoMixer

SHAPE = (4, 3, 5, 1)
FILMS = np.random.default_rng(0).normal(size=(20, *SHAPE)).astype(np.float32)


def network(time=True):
    shape = {"width": 16, "depth": 2, "summary": 3}
    return filled(lambda: VideoMixer(SHAPE, **shape, num_classes=5, time=time, rngs=nnx.Rngs(0)), 0.3)


def told(n):
    given = (jnp.arange(4)[None] < 2) & (jnp.arange(n)[:, None] % 2 == 0)
    return Told(jnp.arange(n) % 5, jnp.asarray(FILMS[:n]), given)


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def call(model):
    graph, state = nnx.split(model)
    return jax.jit(lambda x, t, label: nnx.merge(graph, state)(x, t, label))


X = jax.random.normal(jax.random.key(0), (10, *SHAPE))


def test_every_parameter_has_a_gradient(model):
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    t = jnp.linspace(0.05, 0.95, 10)

    def loss(params):
        return jnp.sum(jnp.sin(nnx.merge(graph, params, rest)(X, t, told(10))))

    gradients = jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(params))
    assert len(gradients) > 30
    for path, gradient in gradients:
        norms = jnp.abs(gradient).reshape(len(gradient), -1).sum(1)
        assert bool((norms > 0).mean() > 0.9), jax.tree_util.keystr(path)


def test_each_frame_heeds_every_frame_and_each_film_itself_alone(call):
    base = call(X, 0.3, told(10))
    assert base.shape == X.shape and base.dtype == X.dtype
    for frame in range(4):
        moved = call(X.at[0, frame].add(1.0), 0.3, told(10)) - base
        assert bool((jnp.abs(moved[0]).sum((1, 2, 3)) > 1e-3).all())
        assert float(jnp.abs(moved[1:]).max()) < 1e-5


def test_without_time_blocks_frames_are_strangers():
    graph, state = nnx.split(network(time=False))
    blind = jax.jit(lambda x: nnx.merge(graph, state)(x, 0.3, jnp.arange(10) % 5))
    other = jax.random.normal(jax.random.key(1), X.shape).at[:, 2].set(X[:, 2])
    assert jnp.array_equal(blind(X)[:, 2], blind(other)[:, 2])
    assert not jnp.allclose(blind(X)[:, 1], blind(other)[:, 1])


def test_the_condition_is_heeded_where_it_counts(call):
    base, what = call(X, 0.3, told(10)), told(10)
    assert not jnp.allclose(base, call(X, 0.31, what))
    assert not jnp.allclose(base, call(X, 0.3, what._replace(label=(what.label + 1) % 5)))
    changed = call(X, 0.3, what._replace(frames=what.frames.at[:, 0].add(1.0))) - base
    assert bool((jnp.abs(changed[::2]).sum((2, 3, 4)) > 1e-3).all())  # frame 0 is given there: all frames read it
    assert float(jnp.abs(changed[1::2]).max()) == 0  # and not given here
    nothing_counts = call(X, 0.3, what._replace(frames=what.frames.at[:, 2:].add(1.0)))
    assert jnp.array_equal(nothing_counts, base)


def test_a_label_alone_is_being_told_no_frame(call):
    label = jnp.arange(10) % 5
    nothing = Told(label, jnp.asarray(FILMS[:10]), jnp.zeros((10, 4), bool))
    np.testing.assert_allclose(call(X, 0.3, label), call(X, 0.3, nothing), atol=1e-5)


def test_trains_around_a_gaussian_with_the_usual_loss(model):
    """The loss of the package hands `Told` through to the network."""
    around = AroundGaussian(model, FILMS, vp_linear())
    graph, state = nnx.split(around)
    value = jax.jit(lambda key: denoising_loss(nnx.merge(graph, state), X, vp_linear(), key=key, labels=told(10)))(
        jax.random.key(0)
    )
    assert value.shape == () and bool(jnp.isfinite(value))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(model, platform):
    graph, state = nnx.split(model)

    def f(leaves, x, t, what):
        return nnx.merge(graph, jax.tree.unflatten(jax.tree.structure(state), leaves))(x, t, Told(*what))

    args = (jax.tree.leaves(state), X, jnp.ones(10), tuple(told(10)))
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), args)
    assert export.export(jax.jit(f), platforms=[platform])(*shapes).platforms == (platform,)


def tiny(*args):
    return nnx.eval_shape(lambda: VideoMixer(SHAPE, width=4, depth=1, summary=1, rngs=nnx.Rngs(0))(*args))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: VideoMixer((8, 0, 8, 1), rngs=nnx.Rngs(0)), "needs shape"),
        (lambda: VideoMixer(SHAPE, depth=0, rngs=nnx.Rngs(0)), "depth >= 1"),
        (lambda: VideoMixer(SHAPE, summary=0, rngs=nnx.Rngs(0)), "summary >= 1"),
        (lambda: tiny(jnp.ones((2, 5, 3, 5, 1)), 0.3), "made for one number of frames"),
        (lambda: tiny(X, 0.3, jnp.arange(10)), "without classes got label"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
