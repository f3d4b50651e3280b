"""Droplets that collide and merge, on bins in equal ratio of mass, beside Golovin's exact solution. SI units."""

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
from diffbook.applications.clouds.droplets import mass_of


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
