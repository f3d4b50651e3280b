r"""Langevin's equation with its inertia, and a step that treats each of its parts exactly.

$$dx = v\,dt, \qquad dv = -\nabla U(x)\,dt - \gamma v\,dt + \sqrt{2\gamma T}\,dW$$

for a particle of mass one at temperature T (in units of energy). Position and velocity travel in one array z of shape
(..., 2, d): positions `z[..., 0, :]`, velocities `z[..., 1, :]`. The equation is an `SDE` like any other, and
`simulate` walks it like any other; `baoab` is a step for it.
"""

import jax.numpy as jnp
from jax.tree_util import Partial

from diffbook._checks import require, require_nonnegative
from diffbook.sde.exact import _mean_decay
from diffbook.sde.process import SDE
from diffbook.sde.processes import force


def _split(z):
    require(
        z.ndim >= 2 and z.shape[-2] == 2,
        f"an underdamped state has shape (..., 2, d), positions before velocities, got {z.shape}; "
        "build it by jnp.stack([x, v], axis=-2)",
    )
    return z[..., 0, :], z[..., 1, :]


def _join(x, v):
    return jnp.stack([x, v], axis=-2)


def _drift(potential, friction, z, t):
    x, v = _split(z)
    return _join(v, force(potential, x) - jnp.asarray(friction, z.dtype) * v)


def _shaken_velocity(friction, temperature, z, t):
    x, v = _split(z)
    amplitude = jnp.sqrt(2 * jnp.asarray(friction, z.dtype) * jnp.asarray(temperature, z.dtype))
    return _join(jnp.zeros_like(x), jnp.broadcast_to(amplitude, v.shape))


def underdamped_langevin(potential, *, friction, temperature) -> SDE:
    r"""A particle of mass one: $dx = v\,dt$, $dv = -(\nabla U + \gamma v)\,dt + \sqrt{2\gamma T}\,dW$.

    Its equilibrium is exp(-(U + v**2/2)/T)/Z. Where friction is much faster than whatever the force does, x alone obeys
    the equation of `langevin`, with U/friction in place of U and D = T/friction.

    Args:
      potential: U, (..., d) -> (...) or elementwise, as in `langevin`; energy per mass, length**2/time**2.
      friction: gamma >= 0, 1/time.  temperature: T >= 0, length**2/time**2 (k_B times temperature per mass).
    Returns: an SDE whose state is z of shape (..., 2, d).
    Raises: ValueError: if friction or temperature is negative or not finite, or, when simulated, the state has another
      shape. Traced and negative, their product gives NaN.
    References: Langevin 1908; Kramers 1940.

    >>> sde = underdamped_langevin(lambda x: x**2 / 2, friction=0.5, temperature=1.0)
    >>> sde.drift(jnp.array([[2.0], [4.0]]), 0.0)     # at x = 2 with v = 4
    Array([[ 4.],
           [-4.]], dtype=float32)
    """
    where = "underdamped_langevin"
    require(callable(potential), f"{where} needs potential to be a function, got {potential!r}; write lambda x: ...")
    require_nonnegative(friction, "friction", where)
    require_nonnegative(temperature, "temperature", where)
    return SDE(Partial(_drift, potential, friction), Partial(_shaken_velocity, friction, temperature))


def _baoab(friction, sde, z, t, dt, dw):
    x, v = _split(z)
    amplitude = jnp.broadcast_to(sde.diffusion(z, t), z.shape)[..., 1, :]

    def push(x, t):  # half a step of the force alone: the drift of a particle at rest
        return dt / 2 * sde.drift(_join(x, jnp.zeros_like(x)), t)[..., 1, :]

    v = v + push(x, t)
    x = x + dt / 2 * v
    decay = jnp.asarray(friction, dt.dtype) * dt
    v = jnp.exp(-decay) * v + jnp.sqrt(_mean_decay(2 * decay)) * amplitude * dw[..., 1, :]
    x = x + dt / 2 * v
    return _join(x, v + push(x, t + dt))


def baoab(friction):
    r"""A step for `underdamped_langevin` of five exact pieces: kick (B), drift (A), friction and noise (O), A, B.

    Weak order 2. In a parabola of frequency w the positions have exactly the variance T/w**2 at any step h < 2/w; with
    friction and temperature zero it is the velocity Verlet scheme, symplectic and time-reversible.

    Args:
      friction: gamma of the equation, >= 0; the force and the noise are read off the equation itself.
    Returns: a step for `simulate(..., step=baoab(friction))`.
    Raises: ValueError: if friction is negative or not finite.
    References: Leimkuhler & Matthews 2013, J. Chem. Phys. 138, 174102.

    >>> from diffbook.sde import simulate
    >>> import jax
    >>> sde = underdamped_langevin(lambda x: x**2 / 2, friction=1.0, temperature=1.0)
    >>> z0, ts = jnp.zeros((2, 50_000)), jnp.arange(0.0, 20.0, 1.0)
    >>> z = simulate(sde, z0, ts, key=jax.random.key(0), step=baoab(1.0), save="last")
    >>> f"variance of x {z[0].var():.2f}"
    'variance of x 1.00'
    """
    require_nonnegative(friction, "friction", "baoab")
    return Partial(_baoab, friction)
