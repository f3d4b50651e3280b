"""A warm cloud: droplets that grow by condensation, collide, and turn into rain. SI units throughout.

Two spectra appear. Condensation moves droplets at one speed in p = r^2, so it lives on equal bins in r^2 and is
`pde.advection`. Coalescence adds masses, so it lives on bins in equal ratio of mass.
"""

import functools
import math
from typing import SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import i1e
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from diffbook import _checks

WATER = 1000.0  # kg/m^3, density of liquid water


def mass_of(radius):
    """Mass of a droplet, kg, of the given radius, m."""
    return 4 / 3 * math.pi * WATER * radius**3


def radius_of(mass):
    """Radius of a droplet, m, of the given mass, kg."""
    return (mass / (4 / 3 * math.pi * WATER)) ** (1 / 3)


# ---- condensation --------------------------------------------------------------------------------------------------


def growth_parameter(temperature, pressure):
    r"""$\xi_1$ in $r\,dr/dt = \xi_1\,(S - 1)$, m^2/s, for droplets large enough to forget their curvature and salt.

    Args:
      temperature: K.  pressure: Pa.  S, the saturation ratio, is the caller's.
    Returns: xi_1 = 1/(F_k + F_d): how fast heat leaves and vapour arrives.
    References: Rogers and Yau 1989, chapter 7; saturation pressure Bolton 1980.

    >>> round(growth_parameter(283.15, 9e4) * 1e12)  # um^2/s
    93
    """
    latent, vapour_gas = 2.5e6, 461.5  # J/kg, J/(kg K)
    saturation = 611.2 * np.exp(17.67 * (temperature - 273.15) / (temperature - 29.65))  # Pa
    conductivity = 1e-3 * (4.39 + 0.071 * temperature)  # W/(m K)
    diffusivity = 2.11e-5 * (temperature / 273.15) ** 1.94 * (101325 / pressure)  # m^2/s
    heat = (latent / (vapour_gas * temperature) - 1) * latent * WATER / (conductivity * temperature)
    vapour = WATER * vapour_gas * temperature / (diffusivity * saturation)
    return 1 / (heat + vapour)


def east_marshall(radius):
    r"""A measured cloud's spectrum, $n(r) = (n_0/r)\,\exp(-22\,(\log_{10} r/7\,\mu m)^2)$, per m^3 and m of radius.

    n_0 = 465 per cm^3 makes it 1 g of water in a kilogram of air.
    References: East and Marshall 1954, as normalised by Olesik et al. 2022.
    """
    return 465e6 / radius * np.exp(-22 * np.log10(radius / 7e-6) ** 2)


def condense(r, *, growth):
    """Droplets followed one by one: radius after r^2 has grown by `growth` = 2 xi_1 (S - 1) t, m^2. Exact.

    >>> round(float(condense(3e-6, growth=16e-12)) * 1e6, 6)
    5.0
    """
    return (r**2 + growth) ** 0.5


# ---- how droplets meet ---------------------------------------------------------------------------------------------


@jax.jit
def terminal_velocity(radius):
    """Speed of fall of a drop in air at 20 C and 1013 hPa, m/s; radius in m, shape kept; held constant above 3.5 mm.

    References: Beard 1976, table 1: slip-corrected Stokes flow up to 19 um diameter, a fit to Reynolds against Davies
    number up to 1.07 mm, and one that knows surface tension up to 7 mm.

    >>> print(jnp.round(terminal_velocity(jnp.array([1e-5, 5e-4])), 3))  # a droplet and a raindrop 1 mm across
    [0.012 4.005]
    """
    air, contrast, g = 1.204, 998.2 - 1.204, 9.80665  # kg/m^3, kg/m^3, m/s^2
    viscosity, tension, path = 1.818e-5, 0.07275, 6.62e-8  # kg/(m s), N/m, m
    d = 2 * jnp.minimum(radius, 3.5e-3)
    slip = 1 + 2.51 * path / d
    stokes = contrast * g * d**2 / (18 * viscosity) * slip
    middle = (-3.18657, 0.992696, -0.153193e-2, -0.987059e-3, -0.578878e-3, 0.855176e-4, -0.327815e-5)
    large = (-5.00015, 5.23778, -2.04914, 0.475294, -0.542819e-1, 0.238449e-2)
    davies = jnp.log(4 * air * contrast * g * jnp.maximum(d, 1e-6) ** 3 / (3 * viscosity**2))
    physical = tension**3 * air**2 / (viscosity**4 * contrast * g)
    bond = jnp.log(4 * contrast * g * d**2 / (3 * tension) * physical ** (1 / 6))
    scale = viscosity / (air * d)
    middle = scale * slip * jnp.exp(jnp.polyval(jnp.array(middle[::-1]), davies))
    large = scale * physical ** (1 / 6) * jnp.exp(jnp.polyval(jnp.array(large[::-1]), bond))
    return jnp.where(d < 19e-6, stokes, jnp.where(d < 1.07e-3, middle, large))


def long_efficiency(r1, r2):
    r"""Collected part of the droplets in a drop's way: $4.5\times10^8 R^2 (1 - 3\,\mu m/r)$ up to R = 50 um, 1 beyond.

    R and r are the larger and the smaller radius, m; never below 0 or above 1.
    References: Long 1974, eq. as used by Simmel et al. 2002.
    """
    big, small = jnp.maximum(r1, r2), jnp.minimum(r1, r2)
    polynomial = 4.5e8 * big**2 * (1 - 3e-6 / jnp.maximum(small, 3e-6))
    return jnp.where(big < 50e-6, jnp.clip(polynomial, 0, 1), 1.0)


def gravitational_kernel(m1, m2):
    r"""$\pi (r_1 + r_2)^2\,E(r_1, r_2)\,|v_1 - v_2|$, m^3/s: the air in which a faster drop catches a slower one.

    Args: m1, m2: masses, kg, of shapes that broadcast.
    """
    r1, r2 = radius_of(m1), radius_of(m2)
    gap = jnp.abs(terminal_velocity(r1) - terminal_velocity(r2))
    return math.pi * (r1 + r2) ** 2 * long_efficiency(r1, r2) * gap


def golovin_kernel(m1, m2, b=1.5):
    """b (m1 + m2), m^3/s; b in m^3/(kg s). Not a cloud's, but the one with an exact solution."""
    return b * (m1 + m2)


@jax.jit
def golovin_exact(mass, t, *, number, mean_mass, b=1.5):
    r"""Droplets per m^3 of air and kg of mass under `golovin_kernel`, from $\frac{N}{\bar m} e^{-m/\bar m}$ at t = 0.

    $n = \frac{N}{\bar m}\,\frac{1-\tau}{y\sqrt\tau}\,e^{-y(1+\tau)} I_1(2y\sqrt\tau)$ with $y = m/\bar m$ and
    $\tau = 1 - e^{-b N \bar m t}$. There are $N(1-\tau)$ droplets left, and the mass is kept.

    Args:
      mass: kg, any shape.  t: s, >= 0.  number: N, 1/m^3.  mean_mass: kg.  b: m^3/(kg s).
    References: Golovin 1963; Scott 1968.
    """
    y, tau = mass / mean_mass, -jnp.expm1(-b * number * mean_mass * t)
    z = 2 * y * jnp.sqrt(tau)
    ratio = jnp.where(z > 1e-4, i1e(jnp.maximum(z, 1e-4)) / jnp.maximum(z, 1e-4), 0.5 * jnp.exp(-z))  # e^-z I1(z)/z
    return number / mean_mass * (1 - tau) * 2 * ratio * jnp.exp(-y * (1 - jnp.sqrt(tau)) ** 2)


# ---- coalescence on bins of equal mass ratio -----------------------------------------------------------------------


def mass_bins(smallest, largest, per_doubling):
    """Masses in equal ratio, kg, `per_doubling` to a factor of two, from radius `smallest` to `largest`, m, or above.

    >>> print(mass_bins(1e-6, 2e-6, per_doubling=1) / mass_of(1e-6))
    [1. 2. 4. 8.]
    """
    per_doubling = _checks.require_count(per_doubling, "per_doubling", "mass_bins", least=1)
    _checks.require_positive(smallest, "smallest", "mass_bins", "pass radii in metres, above zero")
    _checks.require(largest > smallest, f"mass_bins needs largest > smallest, got {largest} and {smallest}; swap them")
    count = math.ceil(3 * math.log2(largest / smallest) * per_doubling - 1e-9)
    return mass_of(smallest) * 2 ** (np.arange(count + 1) / per_doubling)


def keep_both(m, mass):
    """Where a drop of mass `m` between two bins goes: to both, so that number and mass are kept.

    Returns: lower index, shape of m, and the shares of one drop that go to it and to the next.
    References: Kovetz and Olund 1969; Kumar and Ramkrishna 1996.
    """
    low = np.clip(np.searchsorted(mass, m * (1 + 1e-12), side="right") - 1, 0, mass.size - 2)
    share = (m - mass[low]) / (mass[low + 1] - mass[low])
    return low, 1 - share, share


def keep_mass(m, mass):
    """Where a drop of mass `m` goes: all of it to the bin that contains it. Only mass is kept; see chapter 5."""
    edges = mass[:-1] * (mass[1] / mass[0]) ** 0.5
    low = np.searchsorted(edges, m * (1 + 1e-12), side="right")
    return low, m / mass[low], np.zeros_like(m)


def to_bins(m, number, mass, placement=keep_both):
    """Droplets of masses `m`, kg, and `number` each, 1/m^3, sorted into `mass` bins: number per bin, 1/m^3."""
    m, number = np.asarray(m, np.float64).ravel(), np.asarray(number, np.float64).ravel()
    _checks.require(
        m.size == 0 or (m.min() >= mass[0] * (1 - 1e-9) and m.max() <= mass[-1] * (1 + 1e-9)),
        f"to_bins needs masses within {mass[0]:.3g} and {mass[-1]:.3g} kg, got them outside; widen mass_bins",
    )
    low, here, there = placement(np.clip(m, mass[0], mass[-1]), mass)
    bins = np.zeros(mass.size)
    np.add.at(bins, low, here * number)
    np.add.at(bins, np.minimum(low + 1, mass.size - 1), there * number)
    return jnp.asarray(bins)


def coalesce(
    number: Shaped[ArrayLike, "..."], *, mass, kernel, dt: ArrayLike, num_steps: SupportsIndex, placement=keep_both
) -> Float[Array, " n"]:
    r"""Stochastic collection, $\dot n_k = \tfrac12\sum_{i+j\to k} K_{ij} n_i n_j - n_k \sum_j K_{kj} n_j$, by Heun.

    A pair's mass falls between two bins and is shared out by `placement`. On bins of equal ratio the shares depend on
    i - j alone, which makes a step one small matrix product. What outgrows the last bin stays in it, mass kept.

    Args:
      number: droplets per bin, 1/m^3, shape `(n,)`.
      mass: of the bins, kg, shape `(n,)`, in equal ratio of at most 2, as `mass_bins` gives them: static.
      kernel: K(m1, m2), m^3/s.  dt: time step, s.  num_steps: static integer.
      placement: `keep_both`, or `keep_mass` to see what goes wrong.
    Returns: number per bin at num_steps * dt, shape `(n,)`; `(number * mass).sum()` is kept. Too large a dt turns
      numbers negative: a few seconds suit a cloud.
    Raises: ValueError: for other shapes, unequal ratios, negative or NaN number, or dt <= 0.
    References: Smoluchowski 1916; Kumar and Ramkrishna 1996 (fixed pivot).
    """
    where = "coalesce"
    number = _checks.require_floating(number, "number", where)
    mass = np.asarray(mass, np.float64)
    _checks.require(
        mass.ndim == 1 and mass.size >= 2 and number.shape == mass.shape,
        f"{where} needs number and mass of one shape (n,), n >= 2, got {number.shape} and {mass.shape}; see mass_bins",
    )
    ratios = mass[1:] / mass[:-1]
    _checks.require(
        mass[0] > 0 and 1 < ratios[0] <= 2.0001 and np.allclose(ratios, ratios[0], rtol=1e-6),
        f"{where} needs masses in one ratio above 1 and at most 2, got {ratios.min():.6g} to {ratios.max():.6g}; "
        "see mass_bins",
    )
    _checks.require_nonnegative(number, "number", where, "pass droplets per cubic metre of air, zero or above")
    _checks.require_positive(dt, "dt", where)
    num_steps = _checks.require_count(num_steps, "num_steps", where)
    tables = (
        jnp.asarray(x, number.dtype) for x in (dt, *_tables(mass.tobytes(), kernel, placement, number.dtype.name))
    )
    return _coalesce(number, *tables, num_steps)


@functools.lru_cache(maxsize=16)
def _tables(mass, kernel, placement, precision):
    """What stays from step to step: rates by (i, i - d), shares by d, rates by (i, j), the ratio of masses."""
    mass = np.frombuffer(mass)
    n, ratio = mass.size, mass[1] / mass[0]
    # Shares of the pair (i, i - d), worked out once for a collector in the middle of an endless ladder of bins.
    d = np.arange(n)
    rungs = np.log2(ratio) * np.arange(-2, math.ceil(1 / np.log2(ratio)) + 3)
    low, here, there = placement(1 + ratio ** -d.astype(float), 2**rungs)
    shares = np.zeros((n, rungs.size - 1))  # column o: what arrives o bins above the collector
    shares[d, low - 2] += here
    shares[d, low - 1] += there
    shares[:, 0] -= 1  # the collector leaves its bin
    with jax.ensure_compile_time_eval():
        columns = jnp.asarray(mass)[:, None], jnp.asarray(mass)[None, :]
        meet = np.asarray(jax.jit(kernel)(*columns), np.float64)
    meet = np.where(np.eye(n, dtype=bool), 0.5, 1.0) * np.tril(meet)  # each pair once
    ladder = np.take_along_axis(meet, _partners(n), 1) * (np.arange(n)[:, None] >= d)
    return ladder, shares, meet, ratio


def _partners(n):
    """Index i - d of the collector's partner at [i, d]; 0 where there is none."""
    return np.maximum(np.arange(n)[:, None] - np.arange(n), 0)


@functools.partial(jax.jit, static_argnums=6)
def _coalesce(number, dt, ladder, shares, meet, ratio, num_steps):
    n, offsets = number.size, shares.shape[1]
    partners = _partners(n)

    def rate(number):
        events = ladder * number[:, None] * number[partners]  # [i, d]: meetings of i with i - d, 1/(m^3 s)
        arrivals = jnp.matmul(events, shares, precision="highest")
        gain = jnp.zeros(n + offsets, number.dtype)
        for o in range(offsets):
            gain = gain.at[o : o + n].add(arrivals[:, o])
        beyond = ratio ** jnp.arange(1, offsets + 1)  # outgrown: as many of the largest as hold the mass
        gain = gain[:n].at[-1].add((gain[n:] * beyond).sum())
        return gain - number * (number @ meet)  # the smaller partner leaves its bin

    def step(_, number):
        first = rate(number)
        return number + dt / 2 * (first + rate(number + dt * first))

    return jax.lax.fori_loop(0, num_steps, step, number)


def rain_fraction(number, mass, *, radius=40e-6):
    """Part of the water in drops larger than `radius`, m, which fall and sweep up others; `(..., n)` -> `(...)`."""
    water = number * np.broadcast_to(mass, number.shape).astype(number.dtype)
    return (water * (mass > mass_of(radius))).sum(-1) / water.sum(-1)
