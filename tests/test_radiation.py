"""Grey radiation against the exact diffusion solution, the printed transport table, and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from diffbook.pde import radiation

PAIR = (np.array([-1.0, 1.0]), np.array([0.5, 0.5]))
CIRCLE = (np.cos((np.arange(8) + 0.5) * np.pi / 8), np.full(8, 1 / 8))
# Su and Olson 1997, scattering-free transport: x, and the radiation energy at tau = 1 and at tau = 3.16228
TABLE = np.array(
    [
        [0.01, 0.10, 0.17783, 0.31623, 0.45, 0.5, 0.56234, 0.75, 1.0],
        [0.64308, 0.63585, 0.61958, 0.56187, 0.44711, 0.35801, 0.25374, 0.11430, 0.03648],
        [1.20052, 1.18869, 1.16190, 1.07175, 0.90951, 0.79902, 0.66678, 0.44675, 0.27540],
    ]
)


def exact_diffusion(x, t, until=10.0):
    """Su and Olson's source (1 for |x| < 1/2 up to tau = 10) as an integral over waves, by Gauss's rule in panels."""
    node, weight = np.polynomial.legendre.leggauss(16)
    edges = np.linspace(0, 300, 1501)
    half = np.diff(edges)[:, None] / 2
    k = (edges[:-1, None] + half * (1 + node)).ravel()
    a = k**2 / 3 + 1
    low = -(a + 1) / 2 - np.sqrt((a - 1) ** 2 / 4 + 1)
    high = (a - 1) / low  # the product of the two rates is a - 1; this form keeps the digits of the small one
    start = max(0.0, t - until)
    grow = [np.exp(s * start) * np.expm1(s * (t - start)) / s for s in (high, low)]
    w = ((high + 1) * grow[0] - (low + 1) * grow[1]) / (high - low)
    v = (grow[0] - grow[1]) / (high - low)
    source = 2 * np.sin(k / 2) / k / np.pi * (half * weight).ravel()
    return [(np.cos(np.outer(x, k)) * source) @ f for f in (w, v)]


def heated(n, length, times, solver, **more):
    """Su and Olson's problem on the half line, on cells of size length/n, at the given times."""
    dx = length / n
    x = (np.arange(n) + 0.5) * dx
    w = v = jnp.zeros(n)
    now, rest, out = 0.0, (), []
    for t in times:
        num_steps = int(np.ceil((t - now) / more["dt"]))
        given = more | {"dt": (t - now) / num_steps, "num_steps": num_steps}
        w, v, *rest = solver(w, v, *rest, opacity=1.0, absorption=1.0, source=x < 0.5, dx=dx, **given)
        now = t
        out.append((w, v))
    return x, out


def test_diffusion_against_the_exact_integral():
    with jax.enable_x64(True):
        errors = []
        for n in (200, 400):
            x, out = heated(n, 8.0, (1.0, 3.16228), radiation.diffusion, dt=4 / n)
            errors.append(
                [
                    np.abs(f - e).max()
                    for t, now in zip((1.0, 3.16228), out, strict=True)
                    for f, e in zip(now, exact_diffusion(x, t), strict=True)
                ]
            )
        assert np.max(errors[1]) < 1.5e-4
        assert np.log2(np.array(errors[0]) / errors[1]).min() > 1.8


def test_exact_integral_conserves_energy():
    x = np.linspace(0, 12, 481)
    w, v = exact_diffusion(x, 3.0)
    assert np.trapezoid(w + v, x) == pytest.approx(1.5, abs=2e-4)  # the trapezium rule at the source's edge


def test_transport_against_the_printed_table():
    with jax.enable_x64(True):
        errors = []
        for n in (200, 400):
            dx = 4 / n
            x, out = heated(
                n,
                4.0,
                (1.0, 3.16228),
                radiation.transport,
                eps=1.0,
                dt=0.48 * dx,
                directions=radiation.gauss_legendre(16),
            )
            errors.append(
                [np.abs(np.interp(TABLE[0], x, w) - row).max() for (w, _), row in zip(out, TABLE[1:], strict=True)]
            )
        assert errors[1][0] < 2e-3 and errors[1][1] < 6e-3


def test_transport_becomes_diffusion():
    """The gap between the same problem's transport and diffusion closes like eps**2."""
    with jax.enable_x64(True):
        _, ((w, v),) = heated(100, 5.0, (1.0,), radiation.diffusion, dt=0.0005)
        gaps = []
        for eps in (0.2, 0.1, 0.05):
            _, ((we, ve),) = heated(
                100, 5.0, (1.0,), radiation.transport, eps=eps, dt=0.0005, directions=radiation.gauss_legendre(8)
            )
            gaps.append(max(float(jnp.abs(we - w).max()), float(jnp.abs(ve - v).max())))
        assert gaps[2] < 1e-2 and gaps[0] > 2 * gaps[1] > 3 * gaps[2]


@pytest.mark.parametrize(
    ("directions", "diffusivity"), [(PAIR, 1.0), (CIRCLE, 1 / 2), (radiation.gauss_legendre(6), 1 / 3)]
)
def test_limit_diffusivity_is_that_of_the_directions(directions, diffusivity):
    """Without absorption a wave decays at <mu^2> k^2 / opacity."""
    with jax.enable_x64(True):
        n, eps, k, opacity = 50, 1e-4, np.pi, 2.0
        wave = np.cos(k * (np.arange(n) + 0.5) / n)
        dt = 0.45 * opacity / (2 * diffusivity * n**2)
        w, _, _ = radiation.transport(
            1 + wave,
            0 * wave,
            directions=directions,
            opacity=opacity,
            absorption=0.0,
            source=0.0,
            eps=eps,
            dx=1 / n,
            dt=dt,
            num_steps=400,
        )
        grid = (2 * n * np.sin(k / 2 / n)) ** 2
        assert float((w - 1)[0] / wave[0]) == pytest.approx((1 - diffusivity / opacity * grid * dt) ** 400, rel=2e-3)


def test_two_directions_make_the_telegraphers_equation():
    with jax.enable_x64(True):
        n, eps, k, t = 400, 0.5, np.pi, 0.4
        wave = np.cos(k * (np.arange(n) + 0.5) / n)
        w, _, g = radiation.transport(
            wave,
            0 * wave,
            directions=PAIR,
            opacity=1.0,
            absorption=0.0,
            source=0.0,
            eps=eps,
            dx=1 / n,
            dt=0.4 / 2000,
            num_steps=2000,
        )
        roots = np.roots([eps**2, 1, k**2])
        expected = ((roots[1] * np.exp(roots[0] * t) - roots[0] * np.exp(roots[1] * t)) / (roots[1] - roots[0])).real
        assert float(w[0] / wave[0]) == pytest.approx(expected, rel=0.02)  # first order in dt
        np.testing.assert_allclose(g[:, 0], -g[:, 1], atol=1e-14)


@pytest.mark.parametrize("eps", [1e-6, 0.02, 0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("directions", [PAIR, CIRCLE, radiation.gauss_legendre(4)])
def test_stable_at_the_bound_and_conservative(eps, directions):
    with jax.enable_x64(True):
        rng, n, dx = np.random.default_rng(0), 24, 0.1
        mu, weights = directions
        w, v = rng.uniform(size=n), rng.uniform(size=n)
        dt = 0.48 * (eps * dx / np.abs(mu).max() + 10 * dx**2 / (2 * weights @ mu**2))
        a, b, g = radiation.transport(
            w, v, directions=directions, opacity=10.0, absorption=0.3, source=0.0, eps=eps, dx=dx, dt=dt, num_steps=3000
        )
        assert float((a + b).sum()) == pytest.approx((w + v).sum(), rel=1e-11)
        assert float(jnp.abs(a).max()) < 5 and float(jnp.abs(g).max()) < 100


def test_equilibrium_stays_and_pieces_join():
    with jax.enable_x64(True):
        one = jnp.ones(10)
        given = dict(opacity=1.0, absorption=0.5, dx=0.1)
        for w in radiation.diffusion(one, one, source=0.0, dt=7.0, num_steps=3, **given):
            np.testing.assert_allclose(w, 1, atol=1e-13)
        given |= dict(directions=radiation.gauss_legendre(4), eps=0.3, dt=0.005, source=jnp.linspace(0, 1, 10))
        once = radiation.transport(one, one, num_steps=8, **given)
        twice = radiation.transport(*radiation.transport(one, one, num_steps=3, **given), num_steps=5, **given)
        for a, b in zip(once, twice, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-13)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(platform):
    field = jax.ShapeDtypeStruct((16,), jnp.float32)
    given = dict(opacity=1.0, absorption=1.0, source=1.0, dx=0.1, dt=0.01, num_steps=3)
    export.export(jax.jit(lambda w, v: radiation.diffusion(w, v, **given)), platforms=[platform])(field, field)
    given |= dict(directions=radiation.gauss_legendre(4), eps=1.0)
    export.export(jax.jit(lambda w, v: radiation.transport(w, v, **given)), platforms=[platform])(field, field)


@pytest.mark.parametrize(
    ("solver", "change", "rule"),
    [
        ("diffusion", {"w": np.ones(3)}, "one shape"),
        ("diffusion", {"dt": -1.0}, "dt > 0"),
        ("diffusion", {"opacity": 0.0}, "opacity > 0"),
        ("diffusion", {"absorption": -1.0}, "absorption >= 0"),
        ("diffusion", {"source": np.ones(3)}, "one per cell"),
        ("diffusion", {"v": np.full(4, np.nan)}, "finite"),
        ("transport", {"dt": 1.0}, "times smaller"),
        ("transport", {"eps": 0.0}, "eps > 0"),
        ("transport", {"eps": 2.0}, "raise opacity"),
        ("transport", {"directions": ([0.5, 1.0], [0.5, 0.5])}, "symmetric"),
        ("transport", {"directions": ([-1.0, 1.0], [0.5, 0.6])}, "symmetric"),
        ("transport", {"g": np.zeros((4, 2))}, "cells \\+ 1"),
    ],
)
def test_bad_input(solver, change, rule):
    given = dict(w=np.ones(4), v=np.ones(4), opacity=1.0, absorption=1.0, source=0.0, dx=0.1, dt=0.01, num_steps=1)
    if solver == "transport":
        given |= dict(directions=PAIR, eps=0.5)
    given |= change
    w, v = given.pop("w"), given.pop("v")
    with pytest.raises(ValueError, match=rule):
        getattr(radiation, solver)(w, v, **given)


def test_gauss_legendre():
    mu, weights = radiation.gauss_legendre(6)
    np.testing.assert_allclose(
        [weights.sum(), weights @ mu, weights @ mu**2, weights @ mu**4], [1, 0, 1 / 3, 1 / 5], atol=1e-14
    )
    with pytest.raises(ValueError, match="num >= 2"):
        radiation.gauss_legendre(1)
