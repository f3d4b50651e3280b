"""Chance: random walks, stochastic differential equations and their time reversal."""

from diffbook.sde import exact
from diffbook.sde.integrate import euler_maruyama, heun, increments, simulate
from diffbook.sde.process import SDE, probability_flow, reverse, zero
from diffbook.sde.processes import brownian, langevin, ornstein_uhlenbeck
from diffbook.sde.underdamped import baoab, underdamped_langevin

__all__ = [
    "SDE",
    "baoab",
    "brownian",
    "euler_maruyama",
    "exact",
    "heun",
    "increments",
    "langevin",
    "ornstein_uhlenbeck",
    "probability_flow",
    "reverse",
    "simulate",
    "underdamped_langevin",
    "zero",
]
