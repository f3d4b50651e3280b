r"""From an equation to paths: one loop for every SDE of the book, forwards and backwards, and the steps it can take."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from diffbook._checks import require, require_choice, require_floating, static_value
from diffbook.sde import noise as _noise
from diffbook.sde.process import SDE, zero
from diffbook.sde.program import traced_step


def euler_maruyama(sde, x, t, dt, dw):
    r"""One step of Euler and Maruyama, $x + f(x, t)\,\Delta t + g(x, t)\,\Delta W$.

    Ito. Strong order 1/2, or 1 if g does not depend on x; weak order 1. On a deterministic flow: Euler's, of order 1.

    Args:
      sde: the equation.  x: state.  t: scalar, time at x.  dt: scalar, signed.  dw: like x, variance |dt|.
    Returns: the state at t + dt, like x.
    References: Maruyama 1955; Kloeden & Platen 1992, section 10.2.

    >>> euler_maruyama(SDE(lambda x, t: -x, zero), jnp.ones(2), 0.0, 0.1, jnp.zeros(2))
    Array([0.9, 0.9], dtype=float32)
    """
    return x + sde.drift(x, t) * dt + sde.diffusion(x, t) * dw


def heun(sde, x, t, dt, dw):
    r"""One step of Heun: the mean of the Euler moves from the start and from where the first of them leads.

    On a deterministic flow it has order 2. With noise it reads the equation in *Stratonovich's* sense (strong order 1,
    weak order 1, or 2 if g is constant), which is Ito's only if g does not depend on x: else subtract
    (1/2) g dg/dx from an Ito drift first. It evaluates the drift at both ends of the step, so that a score must be
    finite at the last time too.

    Args: as of `euler_maruyama`.
    Returns: the state at t + dt, like x.
    References: Rümelin 1982; for flows Karras et al. 2022, algorithm 1.

    >>> heun(SDE(lambda x, t: -x, zero), jnp.ones(2), 0.0, 0.1, jnp.zeros(2))     # 1 - h + h**2 / 2
    Array([0.905, 0.905], dtype=float32)
    """

    def move(y, s):
        return sde.drift(y, s) * dt + sde.diffusion(y, s) * dw

    first = move(x, t)
    return x + (first + move(x + first, t + dt)) / 2


def time_grid(ts, dtype, where="simulate"):
    """Times, shape (n + 1,), and signed time steps, shape (n,), both of `dtype`, for the function called `where`.

    The steps of a grid that is known before tracing are differences taken in float64, then rounded.
    """
    value = static_value(ts)
    shape = jnp.shape(ts)
    require(
        len(shape) == 1 and shape[0] >= 2,
        f"{where} needs ts of shape (n + 1,) with n >= 1 steps, got shape {shape}; take e.g. jnp.linspace(0, 1, 101)",
    )
    if value is None:
        return jnp.asarray(ts, dtype), jnp.diff(jnp.asarray(ts, dtype))
    dts = np.diff(value.astype(np.float64))
    require(
        bool(np.isfinite(dts).all()) and bool((dts > 0).all() or (dts < 0).all()),
        f"{where} needs finite times ts that rise, or fall, throughout, got ts={value}; sort it, drop doubles, "
        "or give it more digits",
    )
    return jnp.asarray(value, dtype), jnp.asarray(dts, dtype)


def increments(key: Array, ts: ArrayLike, shape: tuple[int, ...], dtype=float) -> Float[Array, "n ..."]:
    r"""The Brownian increments $\Delta W_k \sim \mathcal N(0, |t_{k+1} - t_k|)$ that `simulate` draws from `key`.

    Summed in pairs, they are those of the same path on every other point of `ts`: so a strong order is measured.

    Args:
      key: typed random key.  ts: shape (n + 1,), rising or falling.  shape, dtype: those of x0.
    Returns: shape (n, *shape), for `simulate(..., noise=...)`.
    Raises: ValueError: for a time grid that does not rise or fall throughout.

    >>> dw = increments(jax.random.key(0), jnp.linspace(0.0, 1.0, 5), (3,))
    >>> dw.shape, dw.reshape(2, 2, 3).sum(1).shape
    ((4, 3), (2, 3))
    """
    _noise.check_draw(key, shape, "increments")
    dtype = jnp.zeros((), dtype).dtype
    _, dts = time_grid(ts, jnp.promote_types(dtype, jnp.float32), "increments")
    return _draw(key, dts, shape).astype(dtype)


@partial(jax.jit, static_argnames="shape")
def _draw(key, dts, shape):
    words = _noise.words_of(key)
    steps = jnp.arange(len(dts), dtype=jnp.uint32)
    return jax.vmap(lambda k, dt: jnp.sqrt(jnp.abs(dt)) * _noise.normal(words, k, shape, dt.dtype))(steps, dts)


@partial(jax.jit, static_argnames=("step", "save"))
def _walk(step, arrays, x0, ts, dts, key, noise, save):
    words = None if key is None else _noise.words_of(key)

    def advance(x, now):
        t, dt, k, dw = now
        if words is not None:
            dw = jnp.sqrt(jnp.abs(dt)) * _noise.normal(words, k, x.shape, dt.dtype)
        elif dw is None:
            dw = jnp.zeros(x.shape, dt.dtype)
        return step(arrays, x, t, dt, dw.astype(dt.dtype))

    def body(x, now):
        # What happens within a step, noise included, is computed again on the way back of reverse-mode differentiation:
        # a gradient then stores the path, and nothing else.
        x = jax.checkpoint(advance, prevent_cse=False)(x, now)
        return x, x if save == "path" else None

    last, path = lax.scan(body, x0, (ts[:-1], dts, jnp.arange(len(dts), dtype=jnp.uint32), noise))
    return last if path is None else jnp.concatenate([x0[None], path])


def simulate(
    sde: SDE, x0: ArrayLike, ts: ArrayLike, *, key=None, noise=None, step=euler_maruyama, save: str = "path"
) -> Float[Array, "..."]:
    r"""Walk $dX = f\,dt + g\,dW$ along a time grid: $X_{k+1} = \mathrm{step}(X_k, t_k, \Delta t_k, \Delta W_k)$.

    The noise at step k of the path at place i hangs on (key, k, i) alone: it is the same for either `save`, and on one
    device or many. It is drawn where it is used and never stored; another grid or another place means another path.

    Args:
      sde: the equation; drift and diffusion return an array like x or one number for all.
      x0: start, any shape (paths and coordinates); real floating point.
      ts: times, shape (n + 1,), rising, or falling: then each dt < 0 (see `reverse`), and the noise has variance |dt|.
      key: typed random key; or
      noise: Brownian increments in its place, shape (n, *x0.shape). A flow (diffusion `zero`) needs neither.
      step: function (sde, x, t, dt, dw) -> x at t + dt: `euler_maruyama`, `heun`, or one's own.
      save: "path" -> every state; "last" -> the last one, in memory that does not grow with n.
    Returns: shape (n + 1, *x0.shape), x0 first, or x0.shape; dtype of x0, sharding of x0.
    Raises: ValueError: for a time grid that does not rise or fall throughout, for neither or both of key and noise, for
      shapes that do not fit. Not for NaN or infinity in x0 or met on the way, which stay in their own path.

    Compiled once for the same functions, shapes and dtypes; parameters held in a `jax.tree_util.Partial`, and arrays
    that the functions close over, may change from call to call. Differentiable in x0, noise, ts and all of those, in
    memory for the path. t, dt and dw are float32 or wider.

    >>> from diffbook.sde import ornstein_uhlenbeck
    >>> x = simulate(ornstein_uhlenbeck(1.0, 0.0, 1.0), jnp.zeros(4), jnp.linspace(0.0, 1.0, 11), key=jax.random.key(0))
    >>> x.shape, bool((x[0] == 0).all())
    ((11, 4), True)
    """
    x0 = require_floating(x0, "x0", "simulate")
    x0 = lax.convert_element_type(x0, x0.dtype)  # a Python number's dtype is weak, a state's is not
    for name, value in (("drift", sde.drift), ("diffusion", sde.diffusion), ("step", step)):
        require(callable(value), f"simulate needs {name} to be a function, got {value!r}; write e.g. lambda x, t: ...")
    require_choice(save, ("path", "last"), "save", "simulate")
    ts, dts = time_grid(ts, jnp.promote_types(x0.dtype, jnp.float32))
    if noise is not None:
        require(
            jnp.shape(noise) == (len(dts), *x0.shape),
            f"simulate needs noise of shape (n, *x0.shape) = {(len(dts), *x0.shape)}, got {jnp.shape(noise)}; "
            "draw it with increments(key, ts, x0.shape)",
        )
        noise = jnp.asarray(noise)
    if sde.diffusion is zero:
        key = None
    else:
        require(
            (key is None) != (noise is None),
            f"simulate needs key or noise, one of the two, got {'neither' if key is None else 'both'}; "
            "pass key=jax.random.key(0), or for a flow without noise SDE(drift, diffbook.sde.zero)",
        )
    if key is not None:
        _noise.check_draw(key, x0.shape, "simulate")
    scalar, like_x = jax.ShapeDtypeStruct((), dts.dtype), jax.ShapeDtypeStruct(x0.shape, dts.dtype)
    move, arrays = traced_step(step, sde, x0, scalar, scalar, like_x)
    return _walk(move, arrays, x0, ts, dts, key, noise, save)
