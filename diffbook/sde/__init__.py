"""Chance: random walks, stochastic differential equations and their time reversal."""

from diffbook.sde import exact
from diffbook.sde.integrate import euler_maruyama, heun, increments, simulate
from diffbook.sde.process import SDE, probability_flow, reverse, zero
from diffbook.sde.processes import (
    bounded_mixing,
    brownian,
    cir,
    geometric_brownian,
    langevin,
    ornstein_uhlenbeck,
)
from diffbook.sde.signs import weak_signs
from diffbook.sde.steps import drift_implicit, milstein, platen, tamed_euler
from diffbook.sde.underdamped import baoab, underdamped_langevin
from diffbook.sde.walks import lattice_walk, persistent_walk

__all__ = [
    "SDE",
    "baoab",
    "bounded_mixing",
    "brownian",
    "cir",
    "drift_implicit",
    "euler_maruyama",
    "exact",
    "geometric_brownian",
    "heun",
    "increments",
    "langevin",
    "lattice_walk",
    "milstein",
    "ornstein_uhlenbeck",
    "persistent_walk",
    "platen",
    "probability_flow",
    "reverse",
    "simulate",
    "tamed_euler",
    "underdamped_langevin",
    "weak_signs",
    "zero",
]
