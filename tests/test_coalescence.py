"""Coalescence: Golovin's exact solution, and two ways to put drops into bins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from diffbook.applications import clouds

NUMBER, WATER = 2e8, 1e-3  # 1/m^3, kg/m^3
MEAN = WATER / NUMBER


def golovin_start(mass):
    """Droplets per bin of the exponential spectrum, bins in equal ratio."""
    return jnp.asarray(NUMBER / MEAN * np.exp(-mass / MEAN) * mass * np.log(mass[1] / mass[0]))


def golovin_run(per_doubling, seconds=1200.0, **more):
    mass = clouds.mass_bins(1e-6, 3e-3, per_doubling)
    n0 = golovin_start(mass)
    given = dict(mass=mass, kernel=clouds.golovin_kernel, dt=4.0, num_steps=round(seconds / 4)) | more
    return mass, n0, clouds.coalesce(n0, **given)


@pytest.mark.parametrize("t", [0.0, 300.0, 1800.0])
def test_golovin_solution_has_its_moments(t):
    with jax.enable_x64(True):
        m = jnp.geomspace(1e-6 * MEAN, 1e6 * MEAN, 20001)
        n = clouds.golovin_exact(m, t, number=NUMBER, mean_mass=MEAN) * m  # per unit of ln m
        rate = 1.5 * WATER
        moments = [float(jnp.trapezoid(n * m**p, jnp.log(m))) for p in (0, 1, 2)]
        expected = [NUMBER * np.exp(-rate * t), WATER, 2 * WATER * MEAN * np.exp(2 * rate * t)]
        np.testing.assert_allclose(moments, expected, rtol=2e-5)


def test_golovin_solution_solves_its_equation():
    """The rate of change against collection's two integrals, by Gauss's rule, at one mass."""
    with jax.enable_x64(True):
        m, t, h = 3 * MEAN, 400.0, 1.0

        def n(x, s=t):
            return clouds.golovin_exact(x, s, number=NUMBER, mean_mass=MEAN)

        rate = float((n(m, t + h) - n(m, t - h)) / (2 * h))
        node, weight = np.polynomial.legendre.leggauss(200)
        inner = (node + 1) / 2 * m
        gain = 0.5 * 1.5 * m * float((n(inner) * n(m - inner) * weight).sum()) * m / 2
        loss = float(n(jnp.asarray(m))) * 1.5 * (m * NUMBER * np.exp(-1.5 * WATER * t) + WATER)
        assert rate == pytest.approx(gain - loss, rel=1e-4)


def test_fixed_pivot_keeps_number_law_and_water_exactly_enough():
    with jax.enable_x64(True):
        _, n0, n = (mass, n0, n) = golovin_run(2)
        assert float((n * mass).sum() / (n0 * mass).sum()) == pytest.approx(1, rel=1e-12)
        rate = 1.5 * float((n0 * mass).sum())
        assert float(n.sum() / n0.sum()) == pytest.approx(np.exp(-rate * 1200), rel=1e-4)
        assert float(n.min()) >= 0


def test_both_placements_err_on_opposite_sides_and_converge():
    """The second moment, which decides when rain begins: too much for `keep_both`, too little for `keep_mass`."""
    with jax.enable_x64(True):
        errors = {}
        for placement in (clouds.keep_both, clouds.keep_mass):
            for s in (1, 2, 4):
                mass, n0, n = golovin_run(s, placement=placement)
                rate = 1.5 * float((n0 * mass).sum())
                ratio = float((n * mass**2).sum() / (n0 * mass**2).sum() / np.exp(2 * rate * 1200))
                errors[placement.__name__, s] = ratio - 1
                assert float((n * mass).sum() / (n0 * mass).sum()) == pytest.approx(1, rel=1e-12)
        both, kept = ([errors[name, s] for s in (1, 2, 4)] for name in ("keep_both", "keep_mass"))
        assert both[0] > both[1] > both[2] > 0 and both[1] > 3 * both[2]
        assert max(kept) < 0


def test_spectrum_against_golovin():
    with jax.enable_x64(True):
        mass, _, n = golovin_run(8)
        exact = clouds.golovin_exact(jnp.asarray(mass), 1200.0, number=NUMBER, mean_mass=MEAN)
        exact = exact * mass * np.log(mass[1] / mass[0])
        assert float((jnp.abs(n - exact) * mass).sum()) / WATER < 0.02


def test_general_sum_over_pairs():
    """The shortcut by i - j against the double sum, written out, for a kernel without symmetry between sizes."""
    with jax.enable_x64(True):
        mass = clouds.mass_bins(5e-6, 60e-6, 3)
        rng = np.random.default_rng(0)
        n = rng.uniform(0, 1e6, mass.size)
        n[-4:] = 0  # nothing outgrows the last bin
        kernel = clouds.gravitational_kernel
        k = np.asarray(kernel(jnp.asarray(mass)[:, None], jnp.asarray(mass)[None]))
        expected = -n * (k @ n)
        for i in range(mass.size - 4):
            for j in range(mass.size - 4):
                low, here, there = clouds.keep_both(mass[i] + mass[j], mass)
                expected[low] += 0.5 * here * k[i, j] * n[i] * n[j]
                expected[low + 1] += 0.5 * there * k[i, j] * n[i] * n[j]
        dt = 1e-6
        got = (np.asarray(clouds.coalesce(n, mass=mass, kernel=kernel, dt=dt, num_steps=1)) - n) / dt
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_what_outgrows_the_last_bin_keeps_its_mass():
    with jax.enable_x64(True):
        mass = clouds.mass_bins(50e-6, 100e-6, 2)
        n = clouds.coalesce(np.full(mass.size, 1e5), mass=mass, kernel=clouds.golovin_kernel, dt=1.0, num_steps=50)
        assert float((n * mass).sum()) == pytest.approx(1e5 * mass.sum(), rel=1e-12)


def test_to_bins_keeps_number_and_water():
    mass = clouds.mass_bins(1e-6, 1e-4, 4)
    m = np.random.default_rng(0).uniform(mass[0], mass[-1], 50)
    n = clouds.to_bins(m, np.full(50, 2.0), mass)
    assert float(n.sum()) == pytest.approx(100, rel=1e-5)
    assert float((n * mass).sum()) == pytest.approx(2 * m.sum(), rel=1e-5)
    kept = clouds.to_bins(m, np.full(50, 2.0), mass, clouds.keep_mass)
    assert float((kept * mass).sum()) == pytest.approx(2 * m.sum(), rel=1e-5)
    with pytest.raises(ValueError, match="widen mass_bins"):
        clouds.to_bins(2 * mass[-1:], np.ones(1), mass)


def test_rain_fraction():
    mass = clouds.mass_bins(1e-5, 1e-4, 1)
    n = jnp.zeros(mass.size).at[0].set(1.0).at[-1].set(3.0)
    assert float(clouds.rain_fraction(n, mass)) == pytest.approx(3 * mass[-1] / (3 * mass[-1] + mass[0]), rel=1e-6)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(platform):
    mass = clouds.mass_bins(1e-6, 1e-4, 1)
    f = jax.jit(lambda n: clouds.coalesce(n, mass=mass, kernel=clouds.gravitational_kernel, dt=1.0, num_steps=3))
    export.export(f, platforms=[platform])(jax.ShapeDtypeStruct(mass.shape, jnp.float32))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"number": np.ones(3)}, "one shape"),
        ({"mass": np.array([1.0, 2.0, 3.0, 4.0])}, "one ratio"),
        ({"mass": np.array([1.0, 3.0, 9.0, 27.0])}, "one ratio"),
        ({"number": -np.ones(4)}, "number >= 0"),
        ({"number": np.full(4, np.nan)}, "number >= 0"),
        ({"dt": 0.0}, "dt > 0"),
        ({"num_steps": -1}, "num_steps"),
    ],
)
def test_bad_input(change, rule):
    given = (
        dict(number=np.ones(4), mass=2.0 ** np.arange(4), kernel=clouds.golovin_kernel, dt=1.0, num_steps=1) | change
    )
    number = given.pop("number")
    with pytest.raises(ValueError, match=rule):
        clouds.coalesce(number, **given)


def test_bad_bins():
    with pytest.raises(ValueError, match="swap them"):
        clouds.mass_bins(1e-4, 1e-6, 2)
    with pytest.raises(ValueError, match="per_doubling >= 1"):
        clouds.mass_bins(1e-6, 1e-4, 0)
