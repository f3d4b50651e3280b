"""Chance: random walks, stochastic differential equations and their time reversal."""
