"""The further SDE steps: exact errors where they are known in closed form, orders and limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from diffbook.sde import (
    SDE,
    drift_implicit,
    euler_maruyama,
    increments,
    milstein,
    platen,
    simulate,
    tamed_euler,
    zero,
)

LAM, MU = -1.0, 0.7
GROWTH = SDE(lambda x, t: LAM * x, lambda x, t: MU * x)
CUBIC = SDE(lambda x, t: -(x**3), lambda x, t: jnp.ones_like(x))
STEPS = {f.__name__: f for f in (milstein, tamed_euler, drift_implicit, platen)}
each = pytest.mark.parametrize("name", STEPS)


def one_step_factor(step, h, z):
    """X_{n+1}/X_n on geometric Brownian motion for given normal numbers z."""
    return step(GROWTH, jnp.ones_like(z), 0.0, h, jnp.sqrt(h) * z)


def gauss_hermite(n=40):
    z, w = np.polynomial.hermite_e.hermegauss(n)
    return jnp.asarray(z), jnp.asarray(w / w.sum())


@pytest.mark.parametrize("h", [0.5, 0.25, 0.1])
def test_milstein_moments_in_closed_form(h):
    with jax.enable_x64(True):
        z, w = gauss_hermite()
        factor = one_step_factor(milstein, h, z)
        assert float(w @ factor) == pytest.approx(1 + LAM * h, abs=1e-13)
        assert float(w @ factor**2) == pytest.approx((1 + LAM * h) ** 2 + MU**2 * h + MU**4 * h**2 / 2, abs=1e-13)


def test_platen_is_weakly_of_second_order_to_the_term():
    """First and second moment of one step match exp up to h**3."""
    with jax.enable_x64(True):
        z, w = gauss_hermite()
        for p, rate in ((1, LAM), (2, 2 * LAM + MU**2)):
            gaps = [float(w @ one_step_factor(platen, h, z) ** p - np.exp(rate * h)) for h in (0.02, 0.01)]
            assert gaps[0] / gaps[1] == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize(
    ("name", "order"), [("milstein", 1.0), ("platen", 1.0), ("tamed_euler", 0.5), ("drift_implicit", 0.5)]
)
def test_strong_order(name, order):
    """Against the exact solution on the same Brownian path, four steps of refinement."""
    with jax.enable_x64(True):
        paths, finest, key = 20_000, 256, jax.random.key(1)
        dw = increments(key, jnp.linspace(0, 1, finest + 1), (paths,))
        exact = jnp.exp((LAM - MU**2 / 2) + MU * dw.sum(0))
        errors = []
        for n in (16, 64, 256):
            x = simulate(
                GROWTH,
                jnp.ones(paths),
                jnp.linspace(0, 1, n + 1),
                noise=dw.reshape(n, -1, paths).sum(1),
                step=STEPS[name],
                save="last",
            )
            errors.append(float(jnp.sqrt(jnp.mean((x - exact) ** 2))))
        assert np.log2(errors[1] / errors[2]) / 2 == pytest.approx(order, abs=0.12)


@each
def test_deterministic_limit_and_backward_clock(name):
    """Without noise the steps solve x' = -x, forwards and then back, to their order."""
    with jax.enable_x64(True):
        flow, ts = SDE(lambda x, t: -x, zero), jnp.linspace(0, 1, 1001)
        end = simulate(flow, jnp.ones(3), ts, step=STEPS[name], save="last")
        np.testing.assert_allclose(end, np.exp(-1), rtol=2e-6 if name == "platen" else 2e-3)
        back = simulate(flow, end, ts[::-1], step=STEPS[name], save="last")
        np.testing.assert_allclose(back, 1, rtol=2e-6 if name == "platen" else 4e-3)


def test_cubic_drift_euler_explodes_and_the_repairs_do_not():
    with jax.enable_x64(True):
        ts, x0 = jnp.linspace(0, 10, 101), jnp.full(200, 20.0)
        ends = {}
        for step in (euler_maruyama, tamed_euler, drift_implicit):
            ends[step.__name__] = simulate(CUBIC, x0, ts, key=jax.random.key(0), step=step, save="last")
        assert not bool(jnp.isfinite(ends["euler_maruyama"]).any())
        assert float(jnp.abs(ends["tamed_euler"]).max()) < 21 and float(jnp.abs(ends["drift_implicit"]).max()) < 4


def test_drift_implicit_solves_its_equation():
    with jax.enable_x64(True):
        x, dw = jnp.array([-30.0, 0.1, 5.0]), jnp.array([0.3, -0.2, 0.1])
        y = drift_implicit(CUBIC, x, 0.0, 0.5, dw)
        np.testing.assert_allclose(y + 0.5 * y**3, x + dw, rtol=1e-12)


def test_drift_implicit_owns_up_where_newton_fails():
    flow = SDE(lambda x, t: jnp.sign(x) * jnp.sqrt(jnp.abs(x)) * 50, zero)
    y = drift_implicit(flow, jnp.array([1e-3]), 0.0, 1.0, jnp.zeros(1), iterations=1)
    assert bool(jnp.isnan(y).all())


def test_noise_that_depends_on_time_and_vector_states():
    sde = SDE(lambda x, t: -x * t, lambda x, t: (1 + t) * x)
    x0 = jnp.ones((5, 2))
    for step in STEPS.values():
        x = simulate(sde, x0, jnp.linspace(0, 1, 11), key=jax.random.key(0), step=step)
        assert x.shape == (11, 5, 2) and x.dtype == x0.dtype and bool(jnp.isfinite(x).all())


@each
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(name, platform):
    f = jax.jit(lambda x, key: simulate(GROWTH, x, np.linspace(0, 1, 5), key=key, step=STEPS[name], save="last"))
    key = jax.eval_shape(lambda: jax.random.key(0))
    export.export(f, platforms=[platform])(jax.ShapeDtypeStruct((8,), jnp.float32), key)
