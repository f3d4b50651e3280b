"""A step as a program and its numbers: compiled once for all values of the numbers, and never stale.

In a notebook, drift and score close over networks that go on learning. A `jax.jit` around the loop would keep the
weights of its first call as constants and return their samples ever after. So each call of `simulate` traces one step
anew, which takes milliseconds, hands over the numbers of the day, and compiles only a trace it has not seen before.
"""

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

from diffbook._checks import require


class _Program:
    """A traced step that equals another of the same source and the same text: a static argument for `jax.jit`."""

    def __init__(self, jaxpr, tree, functions):
        text = str(jaxpr)
        if "custom_" not in text:  # of a derivative made to order the text has but the name: then only the same will do
            functions = tuple(getattr(f, "__code__", f) for f in functions)
        self.jaxpr = jaxpr
        self.identity = (tree, functions, text, tuple(_inner_constants(jaxpr)))

    def __call__(self, numbers, x, t, dt, dw):
        given, closed_over = numbers
        return jaxpr_as_fun(ClosedJaxpr(self.jaxpr, closed_over))(*given, x, t, dt, dw)[0]

    def __hash__(self):
        return hash(self.identity)

    def __eq__(self, other):
        return isinstance(other, _Program) and self.identity == other.identity


def _inner_constants(jaxpr):
    """Addresses of the arrays that inner `jit`s close over, whose values the text does not show."""
    for equation in jaxpr.eqns:
        for inner in jax.tree.leaves(equation.params):
            if isinstance(inner, ClosedJaxpr):
                yield from map(id, inner.consts)
                yield from _inner_constants(inner.jaxpr)
            elif isinstance(inner, Jaxpr):
                yield from _inner_constants(inner)


def traced_step(step, sde, x, t, dt, dw):
    """`step(sde, x, t, dt, dw)` as a hashable program and its numbers: `program(numbers, x, t, dt, dw)`.

    Numbers are the floats and arrays in the `Partial`s and modules of step and sde, and the arrays they close over.
    """
    leaves, tree = jax.tree.flatten((step, sde))
    where = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array | np.ndarray | np.generic | float)]
    given = [leaves[i] for i in where]
    functions = tuple(leaf for i, leaf in enumerate(leaves) if i not in where)

    def one(given, x, t, dt, dw):
        values = dict(zip(where, given, strict=True))
        step, sde = tree.unflatten([values.get(i, leaf) for i, leaf in enumerate(leaves)])
        y = step(sde, x, t, dt, dw)
        require(
            y.shape == x.shape,
            f"a step must keep x's shape, got {y.shape} for {x.shape}; let drift and diffusion return arrays like x",
        )
        return y.astype(x.dtype)

    closed = jax.make_jaxpr(one)(given, x, t, dt, dw)
    return _Program(closed.jaxpr, tree, functions), (given, closed.consts)
