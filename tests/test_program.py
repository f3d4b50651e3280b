"""A step is compiled once for all its numbers, and what it closes over is never stale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.tree_util import Partial

from diffbook.sde import SDE, brownian, integrate, reverse, simulate, zero

KEY = jax.random.key(40)
TS = jnp.linspace(0.0, 1.0, 9)


def test_compiled_once_for_new_values_and_new_closures():
    def run(rate, scale):
        def drift(x, t):  # a new function, and a new array in it, at each call
            return -scale * x

        return simulate(SDE(drift, brownian(rate).diffusion), jnp.ones(6), TS, key=KEY)

    first = run(1.0, jnp.float32(1.0))
    compiled = integrate._walk._cache_size()
    assert not np.any(run(2.0, jnp.float32(3.0))[1:] == first[1:])
    assert integrate._walk._cache_size() == compiled


def test_what_functions_close_over_is_never_stale():
    network = {"weight": jnp.float32(1.0), "rate": 1.0, "train": True}

    def drift(x, t):
        inner = jax.jit(lambda x: -network["weight"] * x)  # an array within a program within the program
        return inner(x) * network["rate"] if network["train"] else jnp.zeros_like(x)

    flow = SDE(drift, zero)
    for change in ({}, {"weight": jnp.float32(2.0)}, {"rate": 3.0}, {"train": False}):
        network |= change
        factor = 1 - network["weight"] * network["rate"] / 8 * network["train"]
        np.testing.assert_allclose(simulate(flow, 1.0, TS, save="last"), factor**8, rtol=1e-5)


def test_custom_derivatives_are_not_mistaken_for_each_other():
    def with_slope(slope):
        @jax.custom_jvp
        def f(x):
            return 1.0 * x

        f.defjvp(lambda primals, tangents: (f(*primals), slope * tangents[0]))
        return SDE(lambda x, t: f(x), zero)

    for slope_ in (1.0, 2.0):
        gradient = jax.grad(lambda x, s=slope_: simulate(with_slope(s), x, TS, save="last"))(1.0)
        np.testing.assert_allclose(gradient, (1 + slope_ / 8) ** 8, rtol=1e-5)


def test_no_tracer_leaks():
    with jax.checking_leaks():
        jax.jit(jax.grad(lambda rate: simulate(SDE(lambda x, t: -rate * x, zero), 1.0, TS, save="last")))(1.0)


@pytest.mark.parametrize("held", ["by a closure", "by a Partial"])
def test_a_network_goes_on_learning_between_calls(held):
    network = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    score = Partial(lambda m, x, t: m(x), network) if held == "by a Partial" else lambda x, t: network(x)
    back = reverse(brownian(0.5), score)

    def sample(sde):
        return simulate(sde, jnp.ones((3, 2)), TS[::-1], key=KEY, save="last")

    network.kernel.set_value(jnp.eye(2))
    before = sample(back)
    compiled = integrate._walk._cache_size()
    network.kernel.set_value(jnp.zeros((2, 2)))
    after = sample(back)
    assert integrate._walk._cache_size() == compiled
    assert not np.any(before == after)
    np.testing.assert_allclose(after, sample(brownian(0.5)), atol=1e-6)
