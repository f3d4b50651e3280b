"""Chance: random walks, stochastic differential equations and their time reversal."""

from diffbook.sde import exact
from diffbook.sde.integrate import euler_maruyama, heun, increments, simulate
from diffbook.sde.process import SDE, probability_flow, reverse, zero
from diffbook.sde.processes import brownian, ornstein_uhlenbeck

__all__ = [
    "SDE",
    "brownian",
    "euler_maruyama",
    "exact",
    "heun",
    "increments",
    "ornstein_uhlenbeck",
    "probability_flow",
    "reverse",
    "simulate",
    "zero",
]
