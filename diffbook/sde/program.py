"""A step as a program and its numbers, so that one compilation serves all values of the numbers."""

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from diffbook._checks import require


class _Program:
    """A traced step, equal to another if the same functions traced to the same text: a static argument of `jax.jit`."""

    def __init__(self, jaxpr, functions):
        self.jaxpr = jaxpr
        self.identity = (functions, str(jaxpr))

    def __call__(self, arrays, x, t, dt, dw):
        numbers, closed_over = arrays
        return jaxpr_as_fun(ClosedJaxpr(self.jaxpr, closed_over))(*numbers, x, t, dt, dw)[0]

    def __hash__(self):
        return hash(self.identity)

    def __eq__(self, other):
        return isinstance(other, _Program) and self.identity == other.identity


def traced_step(step, sde, x, t, dt, dw):
    """`step(sde, ...)` as a hashable program and the arrays it works on, `program(arrays, x, t, dt, dw)`.

    Functions of a notebook close over networks that go on learning. `jax.jit` would bake the weights of the first call
    into the program and keep them; here each call traces the step anew and hands over the weights of the day.
    """
    leaves, tree = jax.tree.flatten((step, sde))
    is_number = [isinstance(leaf, jax.Array | np.ndarray | np.generic | float) for leaf in leaves]
    numbers = [leaf for leaf, number in zip(leaves, is_number, strict=True) if number]
    functions = tuple(None if number else leaf for leaf, number in zip(leaves, is_number, strict=True))

    def one(numbers, x, t, dt, dw):
        rest = iter(numbers)
        step, sde = tree.unflatten([next(rest) if number else leaf for leaf, number in zip(leaves, is_number, strict=True)])
        y = step(sde, x, t, dt, dw)
        require(
            y.shape == x.shape,
            f"a step must keep the shape {x.shape} of x, got {y.shape}; let drift, diffusion and score return arrays like x",
        )
        return y.astype(x.dtype)

    closed = jax.make_jaxpr(one)(numbers, x, t, dt, dw)
    return _Program(closed.jaxpr, (tree, functions)), (numbers, closed.consts)
