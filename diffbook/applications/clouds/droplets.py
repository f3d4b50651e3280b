"""What single droplets do, and pairs of them: weigh, grow by condensation, fall, and meet. SI units throughout.

Condensation moves all droplets at one speed in p = r^2, so that on equal bins in r^2 it is `pde.advection`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

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

    n_0 = 465 per cm^3 makes it 1 g of water in a cubic metre (in a kilogram of air at 1 kg/m^3).
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
