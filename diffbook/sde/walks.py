"""Walks on a lattice: the diffusion equation and the telegrapher's equation, one walker at a time.

The expected occupancy of `lattice_walk` *is* `diffbook.pde.heat.ftcs`, number for number: r is the chance of a jump to
one neighbour in one step, and a walker meets a wall exactly as the scheme does.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Int, Shaped

from diffbook._checks import require, require_choice, require_count, static_value
from diffbook.sde import noise

_BOUNDARIES = ("periodic", "neumann", "dirichlet")
_WORD = 2.0**32  # chances are compared with 32 random bits: each is exact to 2**-32


def lattice_walk(
    x0: Shaped[ArrayLike, "..."],
    *,
    r,
    num_steps: int,
    key=None,
    moves: Shaped[ArrayLike, "..."] | None = None,
    shape=None,
    boundary: str = "periodic",
    save: str = "last",
) -> Int[Array, "..."]:
    r"""Walkers that jump to each neighbour with probability r, else stay: $P(x \to x \pm e_a) = r_a$.

    Args:
      x0: integer positions, shape (..., d), of a dtype that holds the farthest position; counted from 0 where there is
        a grid.
      r: chance of a jump to one neighbour in one step, a number or one per axis; `2 * sum(r) <= 1`. Known before
        tracing. A walk that never stays has r = 1/(2d).
      num_steps: steps to take.
      key: a random key.
      moves: moves to make in place of `key`, shape (num_steps, ...): 2a is a jump down axis a, 2a + 1 a jump up, and 2d
        stays. With all possible moves, each weighted with its chance, expectations are exact.
      shape: cells of the grid along each axis; an endless lattice if left out.
      boundary: what a grid does with a walker that would leave it. "periodic": comes in on the far side. "neumann":
        stays. "dirichlet": is gone; it keeps the position, one cell outside, on which it left.
      save: "last" for the final positions, "path" for all of them.
    Returns: positions, shape (..., d), or (num_steps + 1, ..., d) with `save="path"`. Inside the grid their expected
      number per cell is `heat.ftcs` of the initial number, with the same r and boundary.
    Raises: ValueError: if a chance is negative or the chance to stay would be, and for arguments that do not fit.
    References: Einstein 1905, section 4; Courant, Friedrichs and Lewy 1928, part I, section 3. Derived in chapter 2.

    >>> import jax, jax.numpy as jnp
    >>> x = lattice_walk(jnp.zeros((100_000, 1), int), r=0.25, num_steps=8, key=jax.random.key(1))
    >>> round(float(jnp.var(x.astype(float))), 1)                    # 2 r n = 4
    4.0
    """
    x0 = _integers(x0, "x0", "lattice_walk")
    require(
        x0.ndim >= 1 and x0.shape[-1] >= 1,
        f"lattice_walk needs x0 of shape (..., d), got {x0.shape}; in 1-D add [..., None]",
    )
    num_steps = require_count(num_steps, "num_steps", "lattice_walk")
    require_choice(boundary, _BOUNDARIES, "boundary", "lattice_walk")
    require_choice(save, ("last", "path"), "save", "lattice_walk")
    thresholds = _thresholds(r, x0.shape[-1])
    shape = _grid(shape, x0, boundary)
    moves = _given(key, moves, "moves", (num_steps, *x0.shape[:-1]), "lattice_walk")
    if moves is not None:
        moves = _integers(moves, "moves", "lattice_walk")
    return _walk(x0, key, moves, num_steps, thresholds, shape, boundary, save)


@partial(jax.jit, static_argnums=(3, 4, 5, 6, 7))
def _walk(x0, key, moves, num_steps, thresholds, shape, boundary, save):
    words = None if key is None else noise.words_of(key)

    def step(x, at):
        move = moves[at] if key is None else _draw(words, at, x.shape[:-1], thresholds)
        x = _jump(x, move, shape, boundary)
        return x, (x if save == "path" else None)

    last, path = jax.lax.scan(step, x0, jnp.arange(num_steps, dtype=jnp.uint32))
    return last if save == "last" else jnp.concatenate([x0[None], path])


def persistent_walk(
    x0: Shaped[ArrayLike, "..."],
    v0: Shaped[ArrayLike, "..."],
    *,
    turn: float,
    num_steps: int,
    key=None,
    turns: Shaped[ArrayLike, "..."] | None = None,
) -> tuple[Int[Array, "..."], Int[Array, "..."]]:
    r"""Walkers that keep their direction, and turn with probability `turn` before each step (Goldstein, Kac).

    In the limit of small cells and steps, $c = \Delta x/\Delta t$ and $\mathrm{turn} = \Delta t/2\tau$, their density
    obeys the telegrapher's equation $\tau u_{tt} + u_t = c^2\tau\,u_{xx}$. With turn = 1/2 they have no memory and are
    `lattice_walk` with r = 1/2.

    Args:
      x0: integer positions on an endless line, any shape.  v0: directions, +1 or -1, same shape.
      turn: chance to turn in one step, 0 to 1. Known before tracing.
      num_steps: steps to take.
      key: a random key.
      turns: in place of `key`, who turns at which step, shape (num_steps, ...).
    Returns: (positions, directions) after num_steps.
    Raises: ValueError: if `turn` is no probability, and for arguments that do not fit.
    References: Goldstein 1951; Kac 1974. Derived in chapter 2.

    >>> import jax, jax.numpy as jnp
    >>> x, v = persistent_walk(jnp.zeros(3, int), jnp.array([1, 1, -1]), turn=0.0, num_steps=5, key=jax.random.key(0))
    >>> print(x)
    [ 5  5 -5]
    """
    where = "persistent_walk"
    x0, v0 = _integers(x0, "x0", where), _integers(v0, "v0", where)
    require(
        x0.shape == v0.shape,
        f"{where} needs one direction per walker, got x0 {x0.shape} and v0 {v0.shape}; broadcast one of them",
    )
    num_steps = require_count(num_steps, "num_steps", where)
    signs = static_value(v0)
    require(
        signs is None or bool(np.all(np.abs(signs) == 1)),
        f"{where} needs directions +1 or -1, got v0={v0}; pass jnp.sign(v0)",
    )
    threshold = _chances(turn, "turn", where)
    require(
        threshold.shape == () and threshold <= 1,
        f"{where} needs turn to be one probability, got turn={turn}; take at most 1",
    )
    turns = _given(key, turns, "turns", (num_steps, *x0.shape), where)
    if turns is not None:
        kind = turns.dtype
        require(kind == jnp.bool_, f"{where} needs turns True or False, got dtype {kind}; pass turns.astype(bool)")
    return _persist(x0, v0, key, turns, num_steps, round(float(threshold) * _WORD))


@partial(jax.jit, static_argnums=(4, 5))
def _persist(x0, v0, key, turns, num_steps, threshold):
    words = None if key is None else noise.words_of(key)

    def step(state, at):
        x, v = state
        turned = turns[at] if key is None else _draw(words, at, x.shape, (threshold,) if threshold < _WORD else ()) == 0
        v = jnp.where(turned, -v, v)
        return (x + v.astype(x.dtype), v), None

    return jax.lax.scan(step, (x0, v0), jnp.arange(num_steps, dtype=jnp.uint32))[0]


def _jump(x, move, shape, boundary):
    """One move of each walker, and what the walls make of it."""
    axis = jax.lax.broadcasted_iota(move.dtype, x.shape, x.ndim - 1)
    move = move[..., None]
    y = x + jnp.where(axis == move // 2, 2 * (move % 2) - 1, 0).astype(x.dtype)
    if shape is None:
        return y
    cells = jnp.broadcast_to(jnp.asarray(shape, x.dtype), x.shape)
    if boundary == "periodic":
        return y % cells
    if boundary == "neumann":
        return jnp.clip(y, 0, cells - 1)  # only a jump through the wall is undone
    gone = jnp.any((x < 0) | (x >= cells), axis=-1, keepdims=True)
    return jnp.where(gone, x, y)


def _draw(words, at, walkers, thresholds):
    """How many of the thresholds 32 random bits have reached, one number per walker: made of (key, step, place)."""
    bits = noise.threefry2x32(words, (noise.places(walkers), at))[0]
    return sum(((bits >= np.uint32(t)).astype(jnp.int32) for t in thresholds), jnp.zeros(walkers, jnp.int32))


def _thresholds(r, d):
    """Upper ends of the intervals of 32-bit words that stand for the moves 0, 1, ..., 2d - 1; the rest stays.

    An end at 2**32 is left out: no word reaches it, so that a walk with 2 * sum(r) = 1 never stays.
    """
    value = _chances(r, "r", "lattice_walk")
    require(
        value.shape in ((), (d,)),
        f"lattice_walk needs r to be a number or one per axis, {d} of them, got r={r}; drop or add some",
    )
    per_axis = np.broadcast_to(value, (d,))
    total = float(2 * per_axis.sum())
    rule = (
        "r <= 1/2" if d == 1 else f"r <= 1/(2*d) = {1 / (2 * d):.4g} in {d}-D" if value.shape == () else "2*sum(r) <= 1"
    )
    require(
        total <= 1 + 1e-12,
        f"lattice_walk needs {rule}, got r={r}: the chance to stay would be {1 - total:.4g}; "
        f"take steps {total:.3g} times shorter",
    )
    ends = np.round(np.cumsum(np.repeat(per_axis, 2)) * _WORD)
    return tuple(int(end) for end in ends if end < _WORD)


def _chances(p, name, where):
    value = static_value(p)
    require(value is not None, f"{where} needs {name} before tracing, got a traced value; close over it")
    value = value.astype(np.float64)
    require(
        bool(np.all(value >= 0)),
        f"{where} needs {name} to be a chance, >= 0, got {name}={p}; pass a number from 0 to 1",
    )
    return value


def _grid(shape, x0, boundary):
    if shape is None:
        require(
            boundary == "periodic",
            f"lattice_walk needs shape where there is a wall, got {boundary=} without; pass shape=(cells, ...)",
        )
        return None
    d = x0.shape[-1]
    shape = (shape,) if np.ndim(shape) == 0 else tuple(shape)
    require(
        len(shape) == d,
        f"lattice_walk needs one size per axis, {d} of them, got shape={shape}; it is the field's shape",
    )
    shape = tuple(require_count(n, "shape", "lattice_walk", least=1) for n in shape)
    start = static_value(x0)
    if start is not None and start.size and boundary != "dirichlet":
        require(
            bool(np.all((start >= 0) & (start < np.asarray(shape)))),
            f"lattice_walk needs x0 from 0 to below {shape=}, got {start.min()} to {start.max()}; shift them",
        )
    return shape


def _integers(x, name, where):
    x = jnp.asarray(x)
    holds = jnp.issubdtype(x.dtype, jnp.integer)
    require(holds, f"{where} needs {name} to be integers, got dtype {x.dtype}; pass {name}.astype(int)")
    return x


def _given(key, choices, name, shape, where):
    """What the walkers are told to do, checked; None if a key is to choose."""
    if choices is None:
        require(key is not None, f"{where} needs key or {name}, got neither; pass key=jax.random.key(0)")
        noise.check_draw(key, shape[1:], where)
        return None
    require(key is None, f"{where} needs key or {name}, got both; leave one out")
    choices = jnp.asarray(choices)
    require(choices.shape == shape, f"{where} needs {name} of shape {shape}, got {choices.shape}; see the docstring")
    return choices
