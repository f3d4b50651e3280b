"""The loop: one noise for every way of running, memory, and what is refused. Orders of the steps: test_orders.py."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.tree_util import Partial

from diffbook.sde import SDE, brownian, euler_maruyama, heun, increments, ornstein_uhlenbeck, simulate, zero

KEY = jax.random.key(30)
OU = ornstein_uhlenbeck(1.2, 0.5, 0.8)
TS = jnp.linspace(0.0, 1.0, 9)


# One noise ------------------------------------------------------------------------------------------------------------


@pytest.mark.bits
@settings(deadline=None, derandomize=True, max_examples=4)
@given(shape=st.lists(st.integers(1, 4), max_size=3).map(tuple), n=st.integers(1, 5), falling=st.booleans())
def test_every_way_of_running_walks_the_same_path(shape, n, falling):
    ts = np.linspace(0.0, 2.0, n + 1) ** 2
    ts = ts[::-1] if falling else ts
    x0 = jnp.full(shape, 0.7)
    path = simulate(OU, x0, ts, key=KEY)
    assert path.shape == (n + 1, *shape) and path.dtype == x0.dtype
    np.testing.assert_array_equal(path[0], x0)
    np.testing.assert_array_equal(path[-1], simulate(OU, x0, ts, key=KEY, save="last"))
    dw = increments(KEY, ts, shape)
    np.testing.assert_allclose(path, simulate(OU, x0, ts, noise=dw), rtol=1e-5, atol=1e-5)


def test_brownian_motion_is_the_sum_of_its_increments():
    path = simulate(brownian(0.5), jnp.zeros((2, 3)), TS, key=KEY)
    np.testing.assert_allclose(path[1:], jnp.cumsum(increments(KEY, TS, (2, 3)), 0), atol=1e-6)


def test_variance_of_the_increments_is_the_length_of_the_step():
    ts = np.array([3.0, 2.5, 2.4, 0.4])
    dw = increments(KEY, ts, (40_000,))
    variance = np.abs(np.diff(ts))
    assert np.all(np.abs(dw.var(1) - variance) < 4 * variance * np.sqrt(2 / 40_000))


def test_keys_and_only_keys_change_the_noise():
    x0 = jnp.zeros(4)
    one, again, other = (simulate(OU, x0, TS, key=jax.random.key(seed), save="last") for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.any(one == other)


def test_a_flow_draws_no_random_numbers():
    flow = SDE(lambda x, t: -x, zero)
    for key in (None, KEY):
        jaxpr = str(jax.make_jaxpr(lambda x0, key=key: simulate(flow, x0, TS, key=key))(jnp.ones(3)))
        assert "random" not in jaxpr and "shift" not in jaxpr


# Shapes, dtypes, transformations --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("save", ["path", "last"])
def test_dtype_in_is_dtype_out(dtype, save):
    with jax.enable_x64(True):
        x = jax.eval_shape(lambda x0: simulate(OU, x0, np.linspace(0, 1, 9), key=KEY, save=save), jnp.ones(3, dtype))
        assert x.dtype == jnp.dtype(dtype) and x.shape == ((9, 3) if save == "path" else (3,))


def test_half_precision_follows_float32():
    x = simulate(OU, jnp.ones(50, "bfloat16"), TS, key=KEY, save="last")
    np.testing.assert_allclose(x.astype("float32"), simulate(OU, jnp.ones(50), TS, key=KEY, save="last"), atol=0.05)


def test_a_python_number_is_a_state():
    assert simulate(OU, 1.0, np.array([0.0, 0.5, 1.0]), key=KEY).shape == (3,)


def test_float64_refines_float32():
    x32 = simulate(OU, jnp.ones(5), np.linspace(0, 1, 9), key=KEY)
    with jax.enable_x64(True):
        x64 = simulate(OU, jnp.ones(5), np.linspace(0, 1, 9), key=KEY)
    assert x64.dtype == np.float64
    np.testing.assert_allclose(x32, x64, atol=5e-6)


def test_long_grids_keep_their_steps_in_float32():
    """Differences of rounded times would be wrong by up to a third here."""
    ts = 1000 + 1e-4 * np.arange(101)
    x = simulate(SDE(lambda x, t: jnp.ones_like(x), zero), 0.0, ts, save="last")
    np.testing.assert_allclose(x, 0.01, rtol=1e-5)


def test_jit_vmap_and_traced_times():
    x0, keys = jnp.linspace(0.0, 1.0, 3), jax.random.split(KEY, 4)

    def walk(x0, ts, key):
        return simulate(OU, x0, ts, key=key)

    together = jax.jit(jax.vmap(walk, (None, None, 0)))(x0, TS, keys)
    for one, key in zip(together, keys, strict=True):
        np.testing.assert_allclose(one, walk(x0, TS, key), rtol=1e-5, atol=1e-6)
    per_start = jax.vmap(walk, (0, None, None))(x0, TS, KEY)  # one key, scalar states: the same noise for each
    np.testing.assert_allclose(per_start[2] - per_start[0], (1 - 1.2 / 8) ** np.arange(9), rtol=1e-5)


@pytest.mark.parametrize("save", ["path", "last"])
def test_gradients_in_start_times_noise_and_parameters(save):
    """On Euler's chain x_n = x_0 a**n + sigma sum a**(n-1-k) dW_k with a = 1 - rate h, all of them are algebra."""
    n = len(TS) - 1
    dw = increments(KEY, TS, ())

    def last(x0, rate, sigma, noise, span):
        sde = SDE(lambda x, t: -rate * x, Partial(lambda sigma, x, t: sigma * jnp.ones_like(x), sigma))
        x = simulate(sde, x0, span * TS, noise=noise, save=save)
        return x[-1] if save == "path" else x

    def algebra(x0, rate, sigma, noise, span):
        a = 1 - rate * span / n
        return x0 * a**n + sigma * jnp.sum(a ** jnp.arange(n - 1, -1, -1) * noise)

    point = (1.5, 1.2, 0.8, dw, 1.0)
    for transform in (jax.grad, jax.jacfwd):
        ours, exact = (jax.jit(transform(f, argnums=(0, 1, 2, 3, 4)))(*point) for f in (last, algebra))
        for mine, its in zip(ours, exact, strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-4)


def test_gradients_know_the_noise_of_a_key():
    def end(sigma):
        return simulate(ornstein_uhlenbeck(1.0, 0.0, sigma), jnp.zeros(5), TS, key=KEY, save="last")

    np.testing.assert_allclose(jax.jacrev(end)(2.0), end(1.0), rtol=1e-5)  # linear in sigma


@pytest.mark.bits
def test_the_same_numbers_on_one_device_and_on_eight():
    x0 = jnp.linspace(-1.0, 1.0, 64 * 3).reshape(64, 3)
    spread = NamedSharding(Mesh(np.array(jax.devices()).reshape(8), ("paths",)), PartitionSpec("paths"))
    assert len(spread.device_set) == 8
    for save in ("path", "last"):
        many = simulate(OU, jax.device_put(x0, spread), TS, key=KEY, save=save)
        np.testing.assert_array_equal(many, simulate(OU, x0, TS, key=KEY, save=save))
        assert many.sharding.shard_shape(many.shape)[-2:] == (8, 3)
    walk = jax.jit(lambda x0: simulate(OU, x0, TS, key=KEY, save="last"), in_shardings=spread)
    program = walk.lower(x0).compile().as_text()
    assert not any(word in program for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute"))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("step", [euler_maruyama, heun])
def test_export(platform, step):
    def walk(x0, seed):
        return simulate(OU, x0, TS, key=jax.random.key(seed), step=step)

    exported = jax.export.export(jax.jit(walk), platforms=[platform])(jnp.ones((8, 2)), 0)
    assert exported.out_avals[0].shape == (9, 8, 2)


# Cost -----------------------------------------------------------------------------------------------------------------


def temporary_bytes(f, *args):
    return jax.jit(f).lower(*args).compile().memory_analysis().temp_size_in_bytes


def test_memory_of_the_last_state_does_not_grow_with_the_number_of_steps():
    x0 = jnp.ones(100_000)

    def walk(num_steps):
        def last(x0):
            return simulate(OU, x0, np.linspace(0, 1, num_steps + 1), key=KEY, save="last")

        return last

    short, long = (temporary_bytes(walk(n), x0) for n in (10, 1000))
    assert short < 2 * x0.nbytes
    assert long - short < 16 * 1000  # the time grid: no more than times, steps and numbers


def test_a_gradient_stores_the_path_and_no_more():
    x0, n = jnp.ones(10_000), 100
    sde = SDE(lambda x, t: jnp.sin(jnp.exp(jnp.cos(x))), lambda x, t: jnp.cos(x))  # much to remember within a step

    def loss(x0):
        return simulate(sde, x0, np.linspace(0, 1, n + 1), key=KEY, save="last").sum()

    assert temporary_bytes(jax.grad(loss), x0) < (n + 10) * x0.nbytes


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed, message",
    [
        (dict(ts=jnp.array([0.0, 0.5, 0.2])), r"times ts that rise, or fall, throughout, got ts=.*sort it"),
        (dict(ts=np.array([0.0, 0.5, 0.5])), r"times ts that rise, or fall, throughout"),
        (dict(ts=np.array([0.0, np.nan, 1.0])), r"needs finite times"),
        (dict(ts=np.array([0.0, np.inf])), r"needs finite times"),
        (dict(ts=jnp.array([0.0])), r"ts of shape \(n \+ 1,\) with n >= 1 steps, got shape \(1,\); take e.g."),
        (dict(ts=1.0), r"ts of shape .* got shape \(\)"),
        (dict(ts=jnp.ones((3, 2))), r"ts of shape .* got shape \(3, 2\)"),
        (dict(key=None), r"key or noise, one of the two, got neither; pass key=jax.random.key"),
        (dict(noise=jnp.zeros((8, 3))), r"key or noise, one of the two, got both"),
        (
            dict(key=None, noise=jnp.zeros((9, 3))),
            r"noise of shape .* = \(8, 3\), got \(9, 3\); draw it with increments",
        ),
        (dict(key=0), r"needs a typed random key, got key=0; pass key=jax.random.key"),
        (dict(key=jax.random.split(KEY, 2)), r"needs one key, got an array of keys of shape \(2,\)"),
        (dict(save="all"), r"needs save to be one of 'path', 'last', got save='all'"),
        (dict(x0=jnp.arange(3)), r"real floating-point numbers, got x0 of dtype int32; pass x0.astype"),
        (dict(x0=jnp.ones(3) * 1j), r"real floating-point numbers, got x0 of dtype complex64"),
        (dict(sde=SDE(lambda x, t: -x, 1.0)), r"needs diffusion to be a function, got 1.0; write e.g. lambda x, t"),
        (dict(sde=SDE(lambda x, t: jnp.ones((2, 3)), zero)), r"keep x's shape, got \(2, 3\) for \(3,\); let drift"),
    ],
)
def test_bad_input(changed, message):
    given = dict(sde=OU, x0=jnp.ones(3), ts=TS, key=KEY) | changed
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match=message):
        simulate(given.pop("sde"), given.pop("x0"), given.pop("ts"), **given)


def test_a_traced_time_grid_is_not_looked_at():
    ts = jnp.array([0.0, 0.5, 0.2])
    path = jax.jit(lambda ts: simulate(SDE(lambda x, t: jnp.ones_like(x), zero), 0.0, ts))(ts)
    np.testing.assert_allclose(path, ts)


def test_no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulate(OU, jnp.ones((3, 2)), np.linspace(0, 1, 6), key=KEY)
