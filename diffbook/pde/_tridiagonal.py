"""Chains of cells that exchange probability with their neighbours: solved and analysed without a subtraction.

A chain of n cells has rates `right[i]` from cell i to i+1 and `left[i]` back, and p' = L p. Both algorithms here use
only sums, products and quotients of positive numbers, so every entry of a result, and every decay rate however
small, comes out with a relative error of a few roundings. Elimination in this manner is due to Grassmann, Taksar and
Heyman, Operations Research 33 (1985); bisection on the Golub-Kahan form to Demmel and Kahan, SIAM J. Sci. Stat. Comput.
11 (1990).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@partial(jax.jit, static_argnames="num_steps")
def implicit_euler(
    p: Float[Array, " n"], right: Float[Array, " n-1"], left: Float[Array, " n-1"], dt: Float[Array, ""], num_steps: int
) -> Float[Array, " n"]:
    """`num_steps` solutions of (1 - dt L) p_new = p. Keeps p >= 0 and the sum of p."""
    u, l = dt * right, dt * left  # noqa: E741

    # The pivot is excess + u: columns of 1 - dt L sum to one, and so does what elimination leaves of them.
    def eliminate(excess, face):
        u, l = face  # noqa: E741
        pivot = excess + u
        return 1 + l * (excess / pivot), (pivot, u / pivot)

    last, (pivot, passed) = jax.lax.scan(eliminate, jnp.ones_like(p[0]), (u, l))

    def forward(b, face):
        passed, p = face
        b = p + passed * b
        return b, b

    def backward(q, face):
        b, l, pivot = face  # noqa: E741
        q = (b + l * q) / pivot
        return q, q

    mass = p.sum()

    def step(p, _):
        end, b = jax.lax.scan(forward, p[0], (passed, p[1:]))
        b = jnp.concatenate([p[:1], b[:-1]])
        q_end, q = jax.lax.scan(backward, end / last, (b, l, pivot), reverse=True)
        q = jnp.append(q, end / last)
        # What rounding did to the sum goes back in proportion; else it would add up over many steps.
        size = jnp.abs(q)
        total = size.sum()
        return q + (mass - q.sum()) * (size / jnp.where(total > 0, total, 1)), None

    return jax.lax.scan(step, p, length=num_steps)[0]


@partial(jax.jit, static_argnames="count")
def _bisect(faces, count):
    """The `count` smallest positive eigenvalues s of the symmetric tridiagonal matrix with zero diagonal and squared
    off-diagonals `faces`, whose eigenvalues are 0 and pairs -s, s. Shape (count,)."""
    info = jnp.finfo(faces.dtype)
    below_zero = faces.size // 2 + 1  # eigenvalues <= 0

    def smaller(s):
        """How many of the positive eigenvalues lie below each of s: negative pivots, by Sylvester."""

        def eliminate(carry, face):
            pivot, negative = carry
            pivot = jnp.where(jnp.abs(pivot) < info.tiny, -info.tiny, pivot)
            pivot = -s - face / pivot
            return (pivot, negative + (pivot < 0)), None

        start = (-s, jnp.ones(s.shape, int))
        return jax.lax.scan(eliminate, start, faces)[0][1] - below_zero

    wanted = jnp.arange(count)

    def halve(_, bracket):
        low, high = bracket
        middle = jnp.sqrt(low) * jnp.sqrt(high)
        above = smaller(middle) <= wanted
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    low = jnp.full(count, jnp.sqrt(info.tiny))
    high = jnp.full(count, 2 * jnp.sqrt(faces.max()) + jnp.sqrt(info.tiny))
    low, high = jax.lax.fori_loop(0, info.nmant + 10, halve, (low, high))
    return jnp.where(low > jnp.sqrt(info.tiny), jnp.sqrt(low) * jnp.sqrt(high), 0)


@jax.jit
def _eigenvector(faces, s):
    """The unit eigenvector for the eigenvalue s, by factoring from both ends and meeting where it is largest."""
    tiny = jnp.finfo(faces.dtype).tiny
    b = jnp.sqrt(faces)

    def guarded(d):
        return jnp.where(jnp.abs(d) < tiny, -tiny, d)

    def pivots(pivot, face):
        pivot = -s - face / guarded(pivot)
        return pivot, pivot

    down = jnp.append(-s, jax.lax.scan(pivots, -s, faces)[1])
    up = jnp.append(jax.lax.scan(pivots, -s, faces, reverse=True)[1], -s)
    meet = jnp.argmin(jnp.abs(down + up + s))
    index = jnp.arange(faces.size)
    to_left = jnp.where(index < meet, -b / guarded(down[:-1]), 1)  # v[i] / v[i+1] left of the meeting point
    to_right = jnp.where(index >= meet, -b / guarded(up[1:]), 1)  # v[i+1] / v[i] right of it
    v = jnp.append(jnp.cumprod(to_left[::-1])[::-1], 1) * jnp.append(1, jnp.cumprod(to_right))
    return v / jnp.linalg.norm(v)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def positive_rates(faces: Float[Array, " m"], count: int) -> Float[Array, " count"]:
    """The `count` smallest non-zero decay rates of a chain, each to a few roundings.

    Args:
      faces: right[0], left[0], right[1], left[1], ...: with them as squared off-diagonals, the eigenvalues of the
        Golub-Kahan matrix are plus and minus the roots of the rates, and 0.
    """
    return _bisect(faces, count) ** 2


@positive_rates.defjvp
def _positive_rates_jvp(count, primals, tangents):
    (faces,), (change,) = primals, tangents
    rates = positive_rates(faces, count)
    roots = jnp.sqrt(rates)
    v = jax.vmap(_eigenvector, (None, 0))(faces, roots)
    b = jnp.sqrt(faces)[None]
    slope = 2 * roots[:, None] * v[:, :-1] * v[:, 1:] / jnp.where(b > 0, b, 1)  # Hellmann-Feynman
    return rates, slope @ change
