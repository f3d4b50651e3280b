"""Walks: expected occupancy is FTCS to rounding, whatever the wall; a simulated one is within four standard errors."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbook.pde import heat
from diffbook.sde import lattice_walk, persistent_walk

KEY = jax.random.key(7)
BOUNDARIES = ["periodic", "neumann", "dirichlet"]


def histories(num_steps, r, d):
    """Every sequence of moves, shape (num_steps, count), and its probability."""
    r = np.broadcast_to(r, (d,))
    chance = np.append(np.repeat(r, 2), 1 - 2 * r.sum())
    moves = np.array(list(itertools.product(range(2 * d + 1), repeat=num_steps))).reshape(-1, num_steps).T
    return moves, np.prod(chance[moves], axis=0)


def expected_occupancy(u, *, r, num_steps, boundary):
    """Sum over every start and every history of `lattice_walk` itself: no random number in it."""
    moves, weights = histories(num_steps, r, u.ndim)
    total = np.zeros(u.shape)
    for start in np.argwhere(u):
        x0 = jnp.broadcast_to(jnp.asarray(start), (len(weights), u.ndim))
        x = np.asarray(lattice_walk(x0, r=r, num_steps=num_steps, moves=moves, shape=u.shape, boundary=boundary))
        inside = np.all((x >= 0) & (x < u.shape), axis=1)
        np.add.at(total, tuple(x[inside].T), u[tuple(start)] * weights[inside])
    return total


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(
    ("shape", "r", "num_steps"),
    [
        ((5,), 0.3, 7),
        ((1,), 0.5, 3),
        ((2,), 0.25, 4),
        ((3, 4), 0.25, 4),
        ((3, 3), (0.3, 0.1), 4),
        ((2, 3, 2), 1 / 6, 2),
    ],
)
def test_expected_occupancy_is_ftcs(shape, r, num_steps, boundary):
    with jax.enable_x64(True):
        u = np.random.default_rng(3).random(shape)
        by_histories = expected_occupancy(u, r=r, num_steps=num_steps, boundary=boundary)
        ftcs = heat.ftcs(jnp.asarray(u), r=r, num_steps=num_steps, boundary=boundary)
        np.testing.assert_allclose(by_histories, ftcs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("shape", "r"), [((7,), 0.4), ((5, 4), 0.25), ((5, 4), (0.1, 0.3))])
def test_a_crowd_lands_where_ftcs_says(shape, r, boundary):
    count, steps = 40_000, 6
    start = tuple(n // 3 for n in shape)
    x0 = jnp.broadcast_to(jnp.asarray(start), (count, len(shape)))
    x = np.asarray(lattice_walk(x0, r=r, num_steps=steps, key=KEY, shape=shape, boundary=boundary))
    inside = np.all((x >= 0) & (x < shape), axis=1)
    share = np.zeros(shape)
    np.add.at(share, tuple(x[inside].T), 1 / count)
    p = np.asarray(heat.ftcs(jnp.zeros(shape).at[start].set(1.0), r=r, num_steps=steps, boundary=boundary))
    assert np.all(np.abs(share - p) <= 4 * np.sqrt(p * (1 - p) / count) + 1e-6)
    assert inside.all() == (boundary != "dirichlet")


def test_variance_and_kurtosis():
    r, n, count = 0.2, 50, 200_000
    x = np.asarray(lattice_walk(jnp.zeros((count, 1), int), r=r, num_steps=n, key=KEY))[:, 0].astype(float)
    variance, kurtosis = 2 * r * n, 3 + (1 - 6 * r) / (2 * r * n)
    assert abs(x.mean()) < 4 * math.sqrt(variance / count)
    assert abs(x.var() - variance) < 4 * variance * math.sqrt((kurtosis - 1) / count)


def test_a_walk_that_never_stays_keeps_its_parity():
    for d in (1, 2, 3):
        path = lattice_walk(jnp.zeros((1000, d), int), r=1 / (2 * d), num_steps=9, key=KEY, save="path")
        assert path.shape == (10, 1000, d)
        steps = np.arange(10)[:, None]
        np.testing.assert_array_equal(np.asarray(path.sum(axis=-1)) % 2, np.broadcast_to(steps % 2, (10, 1000)))
        assert np.all(np.abs(np.diff(path, axis=0)).sum(axis=-1) == 1)


def test_last_is_the_end_of_the_path_and_blocks_do_not_matter():
    x0 = jnp.zeros((4, 3, 2), int)
    path = lattice_walk(x0, r=0.2, num_steps=12, key=KEY, save="path")
    np.testing.assert_array_equal(path[-1], lattice_walk(x0, r=0.2, num_steps=12, key=KEY))
    jitted = jax.jit(lambda x, key: lattice_walk(x, r=0.2, num_steps=12, key=key))(x0, KEY)
    np.testing.assert_array_equal(path[-1], jitted)
    moves = jnp.full((3, 5), 3)
    x = lattice_walk(jnp.zeros((5, 2), int), r=0.25, num_steps=3, moves=moves)
    np.testing.assert_array_equal(x, np.broadcast_to([0, 3], (5, 2)))


def test_gone_walkers_stay_gone():
    x = lattice_walk(jnp.zeros((1000, 1), int), r=0.5, num_steps=100, key=KEY, shape=(3,), boundary="dirichlet")
    assert set(np.unique(np.asarray(x))) <= {-1, 0, 1, 2, 3}
    again = lattice_walk(x, r=0.5, num_steps=5, key=KEY, shape=(3,), boundary="dirichlet")
    gone = np.asarray((x < 0) | (x > 2))
    np.testing.assert_array_equal(np.asarray(again)[gone], np.asarray(x)[gone])


def test_dtype_is_kept_and_nobody_walks_at_r_zero():
    x0 = jnp.array([[3], [-2]], jnp.int16)
    x = lattice_walk(x0, r=0.0, num_steps=4, key=KEY)
    assert x.dtype == jnp.int16
    np.testing.assert_array_equal(x, x0)
    assert lattice_walk(jnp.zeros((0, 2), int), r=0.1, num_steps=4, key=KEY, shape=(2, 2)).shape == (0, 2)
    np.testing.assert_array_equal(lattice_walk(x0, r=0.3, num_steps=0, key=KEY), x0)


@settings(deadline=None, derandomize=True, max_examples=6)
@given(st.integers(0, 2**31 - 1), st.sampled_from(BOUNDARIES), st.integers(1, 4), st.integers(1, 4))
def test_walkers_never_leave_a_closed_grid(seed, boundary, nx, ny):
    x0 = jnp.zeros((20, 2), int)
    x = lattice_walk(x0, r=0.25, num_steps=15, key=jax.random.key(seed), shape=(nx, ny), boundary=boundary)
    edge = int(boundary == "dirichlet")
    assert np.all((np.asarray(x) >= -edge) & (np.asarray(x) < np.array([nx, ny]) + edge))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"r": 0.3}, r"r <= 1/\(2\*d\) = 0.25 in 2-D, got r=0.3: the chance to stay would be -0.2"),
        ({"r": -0.1}, "chance"),
        ({"r": float("nan")}, "chance"),
        ({"r": (0.3, 0.3)}, r"2\*sum\(r\) <= 1"),
        ({"r": (0.1, 0.1, 0.1)}, "one per axis"),
        ({"num_steps": -1}, "num_steps >= 0"),
        ({"key": None}, "key or moves"),
        ({"moves": jnp.zeros((3, 5), int)}, "got both"),
        ({"key": None, "moves": jnp.zeros((2, 5), int)}, r"moves of shape \(3, 5\)"),
        ({"boundary": "neumann"}, "needs shape"),
        ({"boundary": "open"}, "one of 'periodic'"),
        ({"shape": (4,)}, "one size per axis"),
        ({"shape": (4, 0)}, "shape >= 1"),
        ({"shape": (4, 4), "x0": jnp.full((5, 2), 4)}, "got 4 to 4"),
        ({"x0": jnp.zeros((5, 2))}, "integers"),
        ({"save": "all"}, "'last', 'path'"),
    ],
)
def test_bad_input(change, says):
    arguments = {"x0": jnp.zeros((5, 2), int), "r": 0.2, "num_steps": 3, "key": KEY} | change
    with pytest.raises(ValueError, match=says):
        lattice_walk(arguments.pop("x0"), **arguments)


def persistent_occupancy(turn, num_steps, reach):
    """Right- and left-goers' expected number per cell after a start at 0, half each way (Goldstein 1951)."""
    right, left = np.zeros((2, 2 * reach + 1))
    right[reach] = left[reach] = 0.5
    for _ in range(num_steps):
        right, left = (1 - turn) * right + turn * left, (1 - turn) * left + turn * right
        right, left = np.roll(right, 1), np.roll(left, -1)
    return right, left


def test_persistent_walk_sums_to_its_master_equation():
    n, turn = 8, 0.15
    turns = np.array(list(itertools.product([False, True], repeat=n))).T
    weights = np.prod(np.where(turns, turn, 1 - turn), axis=0)
    got = {1: 0, -1: 0}
    for v0 in (1, -1):
        start = jnp.zeros(len(weights), int)
        x, v = persistent_walk(start, start + v0, turn=turn, num_steps=n, turns=turns)
        for way in got:
            got[way] += np.bincount(np.asarray(x) + n + 1, 0.5 * weights * (np.asarray(v) == way), 2 * n + 3)
    right, left = persistent_occupancy(turn, n, n + 1)
    np.testing.assert_allclose(got[1], right, atol=1e-15)
    np.testing.assert_allclose(got[-1], left, atol=1e-15)


def test_persistent_crowd():
    count, n, turn = 100_000, 30, 0.1
    v0 = jnp.where(jnp.arange(count) % 2 == 0, 1, -1)
    x, v = (np.asarray(a, float) for a in persistent_walk(jnp.zeros(count, int), v0, turn=turn, num_steps=n, key=KEY))
    rho = 1 - 2 * turn
    variance = n * (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**n) / (1 - rho) ** 2
    assert abs(np.mean(x**2) - variance) < 4 * np.std(x**2) / math.sqrt(count)
    fronts = np.mean(np.abs(x) == n)
    p = (1 - turn) ** (n - 1)  # a turn before the first step does not show
    assert abs(fronts - p) < 4 * math.sqrt(p * (1 - p) / count)
    assert set(np.unique(v)) == {-1.0, 1.0}


def test_certain_turns_and_none():
    x0, v0 = jnp.zeros(4, int), jnp.ones(4, int)
    x, v = persistent_walk(x0, v0, turn=1.0, num_steps=4, key=KEY)
    np.testing.assert_array_equal(x, 0)
    x, v = persistent_walk(x0, v0, turn=0.0, num_steps=4, key=KEY)
    np.testing.assert_array_equal(x, 4)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"turn": 1.5}, "one probability"),
        ({"turn": -0.1}, "chance"),
        ({"v0": jnp.zeros(3, int)}, r"\+1 or -1"),
        ({"v0": jnp.ones(2, int)}, "one direction per walker"),
        ({"turns": jnp.zeros((2, 3), bool)}, "got both"),
        ({"key": None, "turns": jnp.zeros((2, 3), int)}, "True or False"),
        ({"key": None}, "key or turns"),
    ],
)
def test_bad_persistent_input(change, says):
    arguments = {"x0": jnp.zeros(3, int), "v0": jnp.ones(3, int), "turn": 0.2, "num_steps": 2, "key": KEY} | change
    with pytest.raises(ValueError, match=says):
        persistent_walk(arguments.pop("x0"), arguments.pop("v0"), **arguments)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(platform):
    x0 = jnp.zeros((8, 2), int)
    grid = jax.jit(lambda x, k: lattice_walk(x, r=0.2, num_steps=5, key=jax.random.wrap_key_data(k), shape=(4, 4)))
    line = jax.jit(
        lambda x, k: persistent_walk(x, jnp.ones_like(x), turn=0.2, num_steps=5, key=jax.random.wrap_key_data(k))
    )
    data = jax.random.key_data(KEY)
    for f in (grid, line):
        assert jax.export.export(f, platforms=[platform])(x0, data).platforms == (platform,)


def test_sharded_walkers_agree_with_one_device():
    devices = jax.devices()
    assert len(devices) == 8
    mesh = jax.make_mesh((len(devices),), ("walkers",))
    x0 = jnp.zeros((8 * len(devices), 2), int)
    spread = jax.device_put(x0, jax.NamedSharding(mesh, jax.P("walkers")))
    alone = lattice_walk(x0, r=0.2, num_steps=10, key=KEY)
    shared = lattice_walk(spread, r=0.2, num_steps=10, key=KEY)
    assert len(shared.sharding.device_set) == len(devices)
    np.testing.assert_array_equal(alone, shared)
