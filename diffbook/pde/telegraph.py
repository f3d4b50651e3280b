r"""The telegrapher's equation $\tau u_{tt} + u_t = D u_{xx}$: diffusion with a memory $\tau$.

Nothing moves faster than $c = \sqrt{D/\tau}$. Ages well beyond $\tau$ look like the heat equation of the same $D$.
"""

import math
from functools import partial
from typing import SupportsIndex

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import i0e, i1e
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from diffbook._checks import (
    require,
    require_choice,
    require_count,
    require_finite,
    require_floating,
    require_nonnegative,
    require_positive,
    static_value,
)
from diffbook.pde import _walls


def evolve(
    u: Shaped[ArrayLike, "..."],
    ut: Shaped[ArrayLike, "..."],
    *,
    diffusivity: ArrayLike,
    tau: ArrayLike,
    dx: ArrayLike,
    dt: ArrayLike,
    num_steps: SupportsIndex,
    boundary: str = "periodic",
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    r"""FTCS with a memory $q = e^{-\Delta t/\tau}$: $u^{n+1} - u^n = q\,(u^n - u^{n-1}) + (1 - q)\,r\,\delta^2 u^n$.

    Here $r = D\,\Delta t/\Delta x^2$ and $\delta^2 u_j = u_{j-1} - 2u_j + u_{j+1}$.
    Second order in space and time, by integrating $\tau\dot u_t = D\delta^2u/\Delta x^2 - u_t$ exactly with $u$ held in
    the middle of each step. For $\tau \to 0$ it is FTCS. What starts in one cell moves one cell a step and no further:
    with $c\,\Delta t = \Delta x$ the front stands exactly where the equation puts it, and `u` is of fourth order if
    `ut` starts at zero.

    Args:
      u: field, shape `(n,)`, real floating point.  ut: its time derivative, same shape.
      diffusivity: $D > 0$, length²/time.  tau: $\tau > 0$, time.  dx: length.  dt: time.
      num_steps: number of steps, fixed before tracing.
      boundary: "periodic"; "neumann" (no flux); "dirichlet" (u = 0 on the first site outside: waves come back with the
        opposite sign).
    Returns: `(u, ut)` after `num_steps`, shape and dtype as given. Exact but for rounding, unless "dirichlet":
      `(u + tau*ut).sum()` is kept, `ut.sum()` falls as $e^{-t/\tau}$, and in an endless domain the variance of a pulse
      released with `ut = 0` grows by $2D\,(t - \tau(1 - e^{-t/\tau}))$.
    Raises: ValueError: if $r\tanh(\Delta t/2\tau) > 1/2$ (unstable; one of $c\,\Delta t \le \Delta x$ and $r \le 1/2$
      is enough to be stable), for NaN, or for a parameter that is not > 0. Traced values are not looked at: an
      unstable step grows without bound.
    References: Goldstein 1951; Kac 1974; in chapter 1 beside its Green's function.

    >>> import jax.numpy as jnp
    >>> u = jnp.zeros(9).at[4].set(1.0)
    >>> u, ut = evolve(u, 0 * u, diffusivity=1.0, tau=1.0, dx=1.0, dt=1.0, num_steps=3)
    >>> (u != 0).astype(int).tolist()
    [0, 1, 1, 1, 1, 1, 1, 1, 0]
    """
    where = "telegraph.evolve"
    u, ut = require_floating(u, "u", where), require_floating(ut, "ut", where)
    require(
        u.ndim == 1 and u.size > 0 and ut.shape == u.shape,
        f"{where} needs u and ut of one shape (n,) with n >= 1, got {u.shape} and {ut.shape}; "
        "map over a batch with jax.vmap",
    )
    require_choice(boundary, _walls.BOUNDARIES, "boundary", where)
    num_steps = require_count(num_steps, "num_steps", where)
    parameters = {"diffusivity": diffusivity, "tau": tau, "dx": dx, "dt": dt}
    for name, value in parameters.items():
        require(
            jnp.shape(value) == (),
            f"{where} needs one number for {name}, got shape {jnp.shape(value)}; map over several with jax.vmap",
        )
        require_positive(value, name, where)
    _check_stability(where, **parameters)
    require_finite(u, "u", where)
    require_finite(ut, "ut", where)
    dtype = jnp.promote_types(u.dtype, ut.dtype)
    numbers = (jnp.asarray(value, dtype) for value in parameters.values())
    return _evolve(u.astype(dtype), ut.astype(dtype), *numbers, num_steps, boundary)


def _check_stability(where, diffusivity, tau, dx, dt):
    # A wave of eigenvalue s of minus the stencil obeys z**2 - (1 + q - (1 - q) r s) z + q = 0. Both roots stay in the
    # unit disc if (1 - q) r s <= 2 (1 + q), for every s up to 4; and (1 - q)/(1 + q) = tanh(dt / (2 tau)).
    values = [static_value(value) for value in (diffusivity, tau, dx, dt)]
    if any(value is None for value in values):
        return
    diffusivity, tau, dx, dt = (float(value) for value in values)
    courant = diffusivity * dt / dx**2 * math.tanh(dt / (2 * tau))
    longest = max(dx * math.sqrt(tau / diffusivity), dx**2 / (2 * diffusivity))
    require(
        courant <= 0.5 * (1 + 1e-6),  # parameters may come in float32
        f"{where} needs D*dt/dx**2 * tanh(dt/(2*tau)) <= 1/2, got {courant:.4g} (D={diffusivity:.4g}, tau={tau:.4g}, "
        f"dx={dx:.4g}, dt={dt:.4g}); take dt <= max(dx/c, dx**2/(2*D)) = {longest:.4g}",
    )


@partial(jax.jit, static_argnames=("num_steps", "boundary"))
def _evolve(u, ut, diffusivity, tau, dx, dt, num_steps, boundary):
    if num_steps == 0:
        return u, ut
    z = dt / tau
    kept, lost = jnp.exp(-z), -jnp.expm1(-z)

    def target(u):  # where the memory leads: the velocity of the heat equation
        u = _walls.extend(u, 1, boundary)
        return diffusivity / dx**2 * ((u[:-2] + u[2:]) - 2 * u[1:-1])

    # The velocity that is stepped is the mean over a step, (u' - u)/dt: `first` takes ut to it, `last` takes it back,
    # and the two together make one whole step, so stopping and going on changes nothing.
    first = _mean_relaxation(z)
    last = jnp.where(z < 1, (lost - first) / (1 - first), 1 - kept * z / lost)
    mean_ut = (lost / z) * ut + first * target(u)

    def step(_, state):
        u, mean_ut = state
        u = u + dt * mean_ut
        return u, kept * mean_ut + lost * target(u)

    u, mean_ut = lax.fori_loop(0, num_steps - 1, step, (u, mean_ut))
    u = u + dt * mean_ut
    return u, (1 - last) * mean_ut + last * target(u)


def _mean_relaxation(z):
    """1 - (1 - exp(-z))/z without cancellation: how far a memory of rate 1 has relaxed, on average over a time z."""
    series = [-((-1) ** k) / math.factorial(k + 1) for k in range(18, 0, -1)] + [0.0]
    return jnp.where(z < 1, jnp.polyval(jnp.asarray(series, z.dtype), jnp.minimum(z, 1.0)), 1 + jnp.expm1(-z) / z)


def green(x: Shaped[ArrayLike, "..."], t: ArrayLike, *, diffusivity: ArrayLike, tau: ArrayLike) -> Float[Array, "..."]:
    r"""Smooth part of a pulse, $\frac{e^{-t/2\tau}}{4c\tau}\bigl(I_0(\xi) + \frac{t}{2\tau}\frac{I_1(\xi)}{\xi}\bigr)$.

    Here $\xi = \sqrt{c^2t^2 - x^2}/2c\tau$, and the pulse starts as $u = \delta(x)$, $u_t = 0$. The rest of it stands
    in two fronts at $x = \pm ct$, each of weight `front_weight(t, tau=tau)`.

    Args:
      x: distance from the source, any shape, length.
      t: time since the release, >= 0; one number or anything that broadcasts against `x`.
      diffusivity: $D > 0$, length²/time.  tau: memory, $\tau > 0$, time.
    Returns: density, 1/length, broadcast shape of `x` and `t`; exactly zero beyond the fronts, finite on them. It
      integrates to $1 - e^{-t/2\tau}$, so that with the fronts the mass is one.
    Raises: ValueError: if `t < 0`, or a parameter is not > 0. Traced values that are not give numbers without meaning.
    References: Goldstein 1951; Masoliver & Weiss 1996, European Journal of Physics 17, 190.

    >>> import jax.numpy as jnp
    >>> values = green(jnp.array([0.0, 3.0, 3.1]), 3.0, diffusivity=1.0, tau=1.0)
    >>> [f"{v:.4f}" for v in values]
    ['0.1466', '0.0976', '0.0000']
    """
    where = "telegraph.green"
    x = require_floating(x, "x", where)
    require_finite(x, "x", where)
    require_nonnegative(t, "t", where, "the pulse is released at t=0")
    require_positive(diffusivity, "diffusivity", where)
    require_positive(tau, "tau", where)
    return _green(x, *(jnp.asarray(value, x.dtype) for value in (t, diffusivity, tau)))


@jax.jit
def _green(x, t, diffusivity, tau):
    x, t, diffusivity, tau = jnp.broadcast_arrays(x, t, diffusivity, tau)
    c = jnp.sqrt(diffusivity / tau)
    age, distance = t / (2 * tau), jnp.abs(x) / (2 * c * tau)  # in units of the memory: the front is at distance = age
    gap = (age - distance) * (age + distance)  # xi**2
    inside, near = gap >= 0, gap < 0.1
    # Far from the front: the scaled functions carry exp(-xi), and xi - age = -distance**2/(age + xi), which does not
    # cancel, so nothing overflows however old the pulse is.
    xi = jnp.sqrt(jnp.where(near, 1.0, gap))
    far_values = jnp.exp(-(distance**2) / (age + xi)) * (i0e(xi) + age * i1e(xi) / xi)
    # Near it: the power series in xi**2, because autodiff of the square root and of I_1(xi)/xi divides by zero there.
    quarter = jnp.where(inside & near, gap, 0.0) / 4
    squares = [1 / math.factorial(k) ** 2 for k in range(7, -1, -1)]  # I_0(xi) = sum of quarter**k / k!**2
    halves = [0.5 / (math.factorial(k) * math.factorial(k + 1)) for k in range(7, -1, -1)]
    i0, i1_over_xi = (jnp.polyval(jnp.asarray(series, x.dtype), quarter) for series in (squares, halves))
    near_values = jnp.exp(-age) * (i0 + age * i1_over_xi)
    return jnp.where(inside, jnp.where(near, near_values, far_values) / (4 * c * tau), 0.0)


def front_weight(t: ArrayLike, *, tau: ArrayLike) -> Float[Array, "..."]:
    r"""Weight of each of the two fronts of the pulse, $\tfrac12 e^{-t/2\tau}$: walkers that have never turned.

    Args:
      t: time since the release, >= 0, any shape.  tau: memory, $\tau > 0$, time; a walker turns at rate $1/2\tau$.
    Returns: weight, shape of `t`; twice it and the integral of `green` make one.
    Raises: ValueError: if `t < 0` or `tau` is not > 0. Traced values are not looked at.
    References: Goldstein 1951; Kac 1974.

    >>> print(f"{front_weight(2.0, tau=1.0):.4f}")
    0.1839
    """
    require_nonnegative(t, "t", "telegraph.front_weight", "the pulse is released at t=0")
    require_positive(tau, "tau", "telegraph.front_weight")
    t, tau = jnp.broadcast_arrays(jnp.asarray(t, jnp.result_type(t, float)), tau)
    return jnp.exp(-t / (2 * tau)) / 2
