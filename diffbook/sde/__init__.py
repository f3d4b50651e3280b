"""Chance: random walks, stochastic differential equations and their time reversal."""

from diffbook.sde import exact
from diffbook.sde.integrate import euler_maruyama, heun, increments, simulate
from diffbook.sde.process import SDE, probability_flow, reverse, zero
from diffbook.sde.processes import brownian, ornstein_uhlenbeck
from diffbook.sde.signs import weak_signs
from diffbook.sde.steps import drift_implicit, milstein, platen, tamed_euler

__all__ = [
    "SDE",
    "brownian",
    "drift_implicit",
    "euler_maruyama",
    "exact",
    "heun",
    "increments",
    "milstein",
    "ornstein_uhlenbeck",
    "platen",
    "probability_flow",
    "reverse",
    "simulate",
    "tamed_euler",
    "weak_signs",
    "zero",
]
