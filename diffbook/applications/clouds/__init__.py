"""A warm cloud: droplets that grow by condensation, collide, and turn into rain. SI units throughout."""

from diffbook.applications.clouds.coalescence import (
    coalesce,
    golovin_exact,
    golovin_kernel,
    keep_both,
    keep_mass,
    mass_bins,
    rain_fraction,
    to_bins,
)
from diffbook.applications.clouds.droplets import (
    WATER,
    condense,
    east_marshall,
    gravitational_kernel,
    growth_parameter,
    long_efficiency,
    mass_of,
    radius_of,
    terminal_velocity,
)

__all__ = [
    "coalesce",
    "condense",
    "east_marshall",
    "golovin_exact",
    "golovin_kernel",
    "gravitational_kernel",
    "growth_parameter",
    "keep_both",
    "keep_mass",
    "long_efficiency",
    "mass_bins",
    "mass_of",
    "radius_of",
    "rain_fraction",
    "terminal_velocity",
    "to_bins",
    "WATER",
]
