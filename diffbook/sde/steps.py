r"""More steps for `simulate`, each a repair of `euler_maruyama`: more order, more stability, or fewer derivatives.

All take (sde, x, t, dt, dw) with a signed dt and Var dw = |dt|, read the equation in Ito's sense, and work on any
shape. Chapter 5 measures their orders and breaks them.
"""

import jax
import jax.numpy as jnp


def milstein(sde, x, t, dt, dw):
    r"""One step of Milstein, $x + f\,\Delta t + g\,\Delta W + \frac12 g\,g'\,(\Delta W^2 - |\Delta t|)$.

    Strong order 1, weak order 1. The slope g' is found by differentiation: g must have one, which sqrt(x) at 0 has not.
    Its mean-square stability is worse than Euler's.

    Args:
      sde: the equation.  x: state.  t: scalar, time at x.  dt: scalar, signed.  dw: like x, variance |dt|.
    Returns: the state at t + dt, like x.
    References: Milstein 1974; Kloeden & Platen 1992, section 10.3.

    >>> from diffbook.sde import SDE
    >>> growth = SDE(lambda x, t: 0 * x, lambda x, t: x)
    >>> milstein(growth, jnp.ones(2), 0.0, 0.25, jnp.array([0.5, 1.0]))
    Array([1.5  , 2.375], dtype=float32)
    """
    # Diagonal noise: the directional derivative along g is g_i dg_i/dx_i in every component at once.
    g = jnp.broadcast_to(sde.diffusion(x, t), x.shape).astype(x.dtype)
    _, gdg = jax.jvp(lambda y: jnp.broadcast_to(sde.diffusion(y, t), x.shape).astype(x.dtype), (x,), (g,))
    return x + sde.drift(x, t) * dt + g * dw + gdg * (dw**2 - jnp.abs(dt)) / 2


def tamed_euler(sde, x, t, dt, dw):
    r"""Euler with a drift that never moves further than 1, $x + f\,\Delta t/(1 + |\Delta t|\,|f|) + g\,\Delta W$.

    Strong order 1/2, with bounded moments where the drift grows faster than linearly and Euler's moments are infinite.
    Tames each component by its own size. The length 1 is in the units of x: scale x to them.

    Args and Returns: as of `milstein`.
    References: Hutzenthaler, Jentzen & Kloeden 2012, eq. (4).

    >>> from diffbook.sde import SDE, zero
    >>> bool(tamed_euler(SDE(lambda x, t: -(x**3), zero), jnp.array([100.0]), 0.0, 0.1, jnp.zeros(1))[0] > 98.9)
    True
    """
    move = sde.drift(x, t) * dt
    return x + move / (1 + jnp.abs(move)) + sde.diffusion(x, t) * dw


def drift_implicit(sde, x, t, dt, dw, *, iterations=12):
    r"""Euler with the drift of the *end* of the step, $y = x + f(y, t + \Delta t)\,\Delta t + g\,\Delta W$, by Newton.

    Strong order 1/2; stable for any step where the drift pulls back. Component i of the drift may depend on x_i only.

    Args: as of `milstein`; iterations: of Newton's method, static: `functools.partial(drift_implicit, iterations=30)`.
    Returns: the state at t + dt, like x; NaN where Newton's method has not come to rest, and not a wrong number.
    References: Kloeden & Platen 1992, section 12.2; Higham, Mao & Stuart 2002.

    >>> from diffbook.sde import SDE, zero
    >>> drift_implicit(SDE(lambda x, t: -x, zero), jnp.ones(2), 0.0, 1.0, jnp.zeros(2))
    Array([0.5, 0.5], dtype=float32)
    """
    start = x + sde.diffusion(x, t) * dw

    def residual(y):
        return y - sde.drift(y, t + dt) * dt - start

    def newton(y):
        return jax.jvp(residual, (y,), (jnp.ones_like(y),))

    y = start
    for _ in range(iterations):
        r, slope = newton(y)
        y = y - r / slope
    r, slope = newton(y)
    settled = jnp.abs(r) <= 64 * jnp.finfo(x.dtype).eps * (jnp.abs(y * slope) + jnp.abs(start) + jnp.abs(y))
    return jnp.where(settled, y, jnp.nan)


def platen(sde, x, t, dt, dw):
    r"""One step of Platen's scheme of weak order 2, which needs no derivative.

    $x + \frac12(f + \bar f)\Delta t + \frac14(\bar g_+ + \bar g_- + 2g)\Delta W
    + \frac14(\bar g_+ - \bar g_-)(\Delta W^2 - |\Delta t|)/\sqrt{|\Delta t|}$, where $\bar f$ is the drift after an
    Euler step and $\bar g_\pm$ the noise after $f\Delta t \pm g\sqrt{|\Delta t|}$. Strong order 1. On a flow it is
    Heun's method; it evaluates at t + dt too.

    Args and Returns: as of `milstein`; dt must not be 0.
    References: Kloeden & Platen 1992, section 15.1, eq. (1.1); with diagonal noise its mixed terms vanish.

    >>> from diffbook.sde import SDE, zero
    >>> platen(SDE(lambda x, t: -x, zero), jnp.ones(2), 0.0, 0.1, jnp.zeros(2))
    Array([0.905, 0.905], dtype=float32)
    """
    root = jnp.sqrt(jnp.abs(dt))
    f, g = sde.drift(x, t), sde.diffusion(x, t)
    ahead = x + f * dt
    far = sde.drift(ahead + g * dw, t + dt)
    up, down = sde.diffusion(ahead + g * root, t + dt), sde.diffusion(ahead - g * root, t + dt)
    spread = (up + down + 2 * g) / 4 * dw + (up - down) / 4 * (dw**2 / root - root)
    return x + (f + far) / 2 * dt + spread
