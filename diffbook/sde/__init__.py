"""Chance: random walks, stochastic differential equations and their time reversal."""

from diffbook.sde import exact
from diffbook.sde.integrate import euler_maruyama, heun, increments, simulate
from diffbook.sde.process import SDE, probability_flow, reverse, zero
from diffbook.sde.processes import bounded_mixing, brownian, cir, geometric_brownian, ornstein_uhlenbeck
from diffbook.sde.walks import lattice_walk, persistent_walk

__all__ = [
    "SDE",
    "bounded_mixing",
    "brownian",
    "cir",
    "euler_maruyama",
    "exact",
    "geometric_brownian",
    "heun",
    "increments",
    "lattice_walk",
    "ornstein_uhlenbeck",
    "persistent_walk",
    "probability_flow",
    "reverse",
    "simulate",
    "zero",
]
