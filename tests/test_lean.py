"""Layer normalisation, SiLU, softmax, scale and shift: values, derivatives both ways, twice, small precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from diffbook.generative import lean
from diffbook.generative.lean import in_halves, layer_norm, modulated_norm, row_product, silu, softmax

FLAX = nnx.LayerNorm(6, use_bias=False, use_scale=False, rngs=nnx.Rngs(0))
EACH = pytest.mark.parametrize(
    ("ours", "usual"),
    [(layer_norm, FLAX), (silu, nnx.silu), (softmax, jax.nn.softmax)],
    ids=["layer_norm", "silu", "softmax"],
)


def rows(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(1.0, 2.0, shape), jnp.float32)


@EACH
def test_it_is_that_of_flax(ours, usual):
    np.testing.assert_allclose(ours(rows(3, 4, 6)), usual(rows(3, 4, 6)), rtol=1e-5, atol=1e-6)


@EACH
@pytest.mark.parametrize("first", (jax.jacfwd, jax.jacrev))
@pytest.mark.parametrize("second", (jax.jacfwd, jax.jacrev))
def test_its_derivatives_are_those_of_the_definition(ours, usual, first, second):
    for derivative in (first, lambda f: second(first(f))):
        np.testing.assert_allclose(derivative(ours)(rows(2, 6)), derivative(usual)(rows(2, 6)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("first", (jax.jacfwd, jax.jacrev))
@pytest.mark.parametrize("second", (jax.jacfwd, jax.jacrev))
def test_a_norm_with_scale_and_shift_acts_and_changes_as_written_out(first, second):
    def plain(x, scale, shift):
        return FLAX(x) * (1 + scale) + shift

    told = rows(2, 3, 6), rows(2, 1, 6), rows(1, 1, 6)
    largest = float(abs(1 + told[1]).max())  # by so much a rounding of the norm, as above, can grow
    np.testing.assert_allclose(modulated_norm(*told), plain(*told), rtol=1e-5, atol=1e-6 * largest)
    for derivative in (first, lambda f, argnums: second(first(f, argnums), argnums)):
        got, expected = (jax.tree.leaves(derivative(f, (0, 1, 2))(*told)) for f in (modulated_norm, plain))
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * largest)


def test_of_a_norm_nothing_wide_is_kept_but_the_argument(capsys):
    x, scale, shift = rows(2, 3, 6), rows(2, 1, 6), rows(1, 1, 6)
    jax.ad_checkpoint.print_saved_residuals(lambda *a: jnp.sum(modulated_norm(*a)), x, scale, shift)
    wide = [line for line in capsys.readouterr().out.splitlines() if "[2,3,6]" in line]
    assert len(wide) == 1 and "argument" in wide[0], wide


def test_a_norm_with_scale_and_shift_and_its_gradient_stay_in_small_precision():
    told = [x.astype(jnp.bfloat16) for x in (rows(2, 3, 6), rows(2, 1, 6), rows(1, 1, 6))]
    assert modulated_norm(*told).dtype == jnp.bfloat16
    assert all(g.dtype == jnp.bfloat16 for g in jax.grad(lambda *a: modulated_norm(*a).sum(), (0, 1, 2))(*told))


def test_equal_numbers_become_zeros_with_a_finite_slope():
    x = jnp.full((2, 6), 3.0)
    assert not layer_norm(x).any()
    assert jnp.isfinite(jax.jacrev(layer_norm)(x)).all()


def test_far_out_softmax_chooses_the_largest():
    x = jnp.array([[1e4, 0.0, -1e4], [-1e30, 1e30, 0.0]])
    assert jnp.array_equal(softmax(x), jnp.eye(3)[:2])
    assert not jax.jacrev(softmax)(x).any()


def test_far_out_silu_is_0_or_x_and_its_slope_0_or_1():
    x = jnp.array([-1e4, -200.0, 200.0, 1e4])
    assert jnp.array_equal(silu(x), jnp.maximum(x, 0))
    assert jnp.array_equal(jax.vmap(jax.grad(silu))(x), x > 0)


@pytest.mark.parametrize(("layer", "within"), [(layer_norm, jnp.float32), (softmax, jnp.float32), (silu, jnp.bfloat16)])
def test_a_gradient_comes_back_in_the_precision_of_what_went(layer, within):
    x = rows(3, 6).astype(jnp.bfloat16)
    assert layer(x).dtype == within
    assert jax.grad(lambda x: (layer(x) ** 3).sum())(x).dtype == jnp.bfloat16


LAST_WITH_FIRST = (((2,), (0,)), ((), ()))


@pytest.mark.parametrize("shape", [(4, 5), (4, 4), (4, 3), (7, 5)], ids=["wide", "square", "tall", "tall, few rows"])
@pytest.mark.parametrize("derivative", (jax.jacfwd, jax.jacrev))
def test_a_product_of_rows_is_the_product(derivative, shape):
    x, kernel = rows(2, 3, shape[0]), rows(*shape)

    def ours(x, kernel):
        return row_product(x, kernel, LAST_WITH_FIRST)

    np.testing.assert_allclose(ours(x, kernel), x @ kernel, rtol=1e-6)
    for got, wanted in zip(derivative(ours, (0, 1))(x, kernel), derivative(jnp.matmul, (0, 1))(x, kernel), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("out", [5, 3])
def test_a_product_of_rows_and_its_gradients_multiply_matrices(out):
    def total(x, kernel):
        return jnp.sum(row_product(x, kernel, LAST_WITH_FIRST) ** 2)

    steps = jax.make_jaxpr(jax.grad(total, (0, 1)))(rows(2, 3, 4), rows(4, out)).eqns
    products = [step for step in steps if step.primitive.name == "dot_general"]
    assert len(products) == 3 and all(v.aval.ndim == 2 for step in products for v in step.invars)


def test_a_product_over_other_axes_is_refused():
    with pytest.raises(ValueError, match="last axis of x"):
        row_product(rows(2, 3, 4), rows(3, 5), (((1,), (0,)), ((), ())))


@pytest.mark.parametrize("count", [2, lean.MANY - 2, lean.MANY, lean.MANY + 1, 2 * lean.MANY])
def test_halves_of_a_batch_are_the_batch(count):
    x, scale, kernel = rows(count, 3, 4), rows(count, 1), rows(4, 5)

    def network(kernel, x, scale):
        sizes.append(len(x))
        return jnp.sin(x @ kernel).sum(1) * scale

    def total(halved, kernel):
        out = in_halves(lambda *a: network(kernel, *a), x, scale) if halved else network(kernel, x, scale)
        return jnp.sum(out * jnp.arange(count)[:, None]), out

    sizes = []
    (_, ours), gradient = jax.value_and_grad(total, 1, has_aux=True)(True, kernel)
    whole = jax.default_backend() != "cpu" or count < lean.MANY or count % 2
    assert sizes == ([count] if whole else [count // 2] * 2)
    (_, expected), slope = jax.value_and_grad(total, 1, has_aux=True)(False, kernel)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-5 * float(abs(slope).max()))
