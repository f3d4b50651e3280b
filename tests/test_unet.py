"""The U-Net: its convolution against XLA's, its patches, and that every parameter is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filled import filled
from flax import nnx
from jax import export
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from diffbook.generative.unet import Conv, UNet, patches, pixels


def small(dtype=None, fine=4):
    sizes = dict(fine=fine, coarse=8, attention=(1, 2), thin=2, width=16, depth=1, condition=8)
    return UNet(**sizes, dtype=dtype, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("channels", [1, 16])
def test_conv_is_the_convolution(channels):
    conv = Conv(channels, 5, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 7, 6, channels))
    kernel = conv.linear.kernel[...].reshape(3, 3, channels, 5)
    expected = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(conv(x), expected, atol=1e-5)  # 9 products a channel, of size 1 in all, in float32


def test_patches_and_back():
    x = jnp.arange(2 * 6 * 4 * 3.0).reshape(2, 6, 4, 3)
    assert patches(x, 2).shape == (2, 3, 2, 12)
    assert jnp.array_equal(patches(x, 2)[1, 2, 1].reshape(2, 2, 3), x[1, 4:6, 2:4])
    assert jnp.array_equal(pixels(patches(x, 2), 2), x)


def test_every_parameter_has_a_gradient_and_the_label_is_heeded():
    graph, params = nnx.split(filled(small, 0.3))
    x = jax.random.normal(jax.random.key(0), (22, 28, 28, 1))
    label, t = jnp.arange(22) % 11, jnp.linspace(0.05, 0.95, 22)

    @jax.jit
    def run(params, label):
        return nnx.merge(graph, params)(x, t, label)

    gradients = jax.jit(jax.grad(lambda params: jnp.sin(run(params, label)).sum()))(params)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        norms = jnp.abs(gradient).reshape(len(gradient), -1).sum(1)
        assert bool((norms > 0).mean() > 0.9), jax.tree_util.keystr(path)
    out = run(params, label)
    assert out.shape == x.shape and out.dtype == jnp.float32
    assert bool((jnp.abs(run(params, (label + 1) % 11) - out).max((1, 2, 3)) > 0).all())
    nothing = nnx.merge(graph, params)(x[:2], t[:2])  # None is the label beyond the last class
    np.testing.assert_allclose(nothing, run(params, jnp.full(22, 10))[:2], atol=1e-4)


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_the_gradient_exports(dtype):
    graph, params = nnx.split(small(dtype))
    flat, tree = jax.tree.flatten(params)

    def loss(flat, x, t, label):
        return jnp.mean(nnx.merge(graph, jax.tree.unflatten(tree, flat))(x, t, label) ** 2)

    run = jax.value_and_grad(loss)
    args = (flat, jnp.zeros((2, 28, 28, 1)), jnp.zeros(2), jnp.zeros(2, jnp.int32))
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), args)
    assert export.export(jax.jit(run), platforms=["cuda", "tpu"])(*shapes).platforms == ("cuda", "tpu")


def test_the_gradient_of_a_batch_spread_over_eight_devices():
    graph, params = nnx.split(filled(lambda: small(fine=16), 0.1))
    x, t, label = (
        jax.random.normal(jax.random.key(0), (64, 28, 28, 1)),  # enough to go in halves
        jnp.linspace(0.05, 0.95, 64),
        jnp.arange(64) % 11,
    )
    run = jax.jit(jax.grad(lambda params, *args: jnp.mean(nnx.merge(graph, params)(*args) ** 2)))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spread = jax.device_put((x, t, label), NamedSharding(mesh, PartitionSpec("data")))
    assert len(spread[0].sharding.device_set) == 8
    for one, many in zip(*(jax.tree.leaves(run(params, *args)) for args in ((x, t, label), spread)), strict=True):
        np.testing.assert_allclose(many, one, atol=1e-5 * float(abs(one).max()))  # sums in another order


def test_bfloat16_in_bfloat16_out():
    graph, params = nnx.split(small())
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    out = nnx.merge(graph, half)(jnp.zeros((2, 28, 28, 1), jnp.bfloat16), 0.5, jnp.zeros(2, jnp.int32))
    assert out.dtype == jnp.bfloat16


def test_arithmetic_in_bfloat16_with_parameters_in_single_precision():
    x = jax.random.normal(jax.random.key(0), (8, 28, 28, 1))
    t, label = jnp.linspace(0.05, 0.95, 8), jnp.arange(8)

    def power(model):
        out = model(x, t, label)
        return jnp.mean(out**2), out

    run = nnx.jit(nnx.value_and_grad(power, has_aux=True))
    (_, exact), gradient = run(filled(small, 0.1))
    (_, rounded), gradient_of_rounded = run(filled(lambda: small(jnp.bfloat16), 0.1))
    assert rounded.dtype == jnp.float32
    assert all(g.dtype == jnp.float32 for g in jax.tree.leaves(gradient_of_rounded))
    whole, part = (jnp.concatenate([g.ravel() for g in jax.tree.leaves(g)]) for g in (gradient, gradient_of_rounded))
    for a, b in ((exact, rounded), (whole, part)):
        off = float(jnp.linalg.norm(b - a) / jnp.linalg.norm(a))
        assert 2**-12 < off < 0.05  # a rounding is 2^-9 and some thirty follow one another; single precision has 2^-24


def test_bad_input():
    with pytest.raises(ValueError, match=r"\(n, 28, 28, 1\)"):
        small()(jnp.zeros((2, 8, 8, 1)), 0.5)
    with pytest.raises(ValueError, match="width"):
        UNet(width=0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"attention\[1\]"):
        UNet(attention=(1, 0), rngs=nnx.Rngs(0))
