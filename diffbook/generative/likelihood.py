"""The probability of a sample under a diffusion model, by following the flow from data to noise."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from diffbook._checks import check_key, require, require_floating, static_value
from diffbook.generative.schedules import Schedule, forward_sde
from diffbook.sde import SDE, heun, probability_flow, simulate, zero


def log_likelihood(x0, score, schedule: Schedule, ts, *, key=None, step=heun, log_prior=None) -> Float[Array, " n"]:
    r"""$\log p(x_0) = \log p_T(x_T) + \int_0^T \nabla\cdot v\;dt$ along the probability flow $\dot x = v(x, t)$.

    The flow carries probability like a fluid: where it spreads, the density falls. Without a key the divergence is
    exact, at the cost of d derivatives a step. With a key it is Hutchinson's estimate $z\cdot\partial_x v\, z$, with a
    vector z of random signs per sample for the whole way: one derivative a step, and unbiased on any grid, since the
    path does not depend on z. Mean and spread over keys are an estimate and its standard error.

    Args:
      x0: shape (n, ...), samples at ts[0], d numbers each.
      score: score(x, t) -> array like x; t a scalar. Samples must not influence one another.
      schedule: of the noise.
      ts: rising times, shape (m + 1,), from 0, or from where the score is still known, to T. Its error in the grid is
        that of `step`. Where the schedule's rate is infinite (t = 1 of `straight`, `vp_cosine`) it must stop before.
      key: typed random key, or None.
      step: of `simulate` for flows.
      log_prior: function (n, ...) -> (n,), log p_T; that of $\mathcal N(0, \sigma^2(T) I)$ if left out.
    Returns: natural logarithms of densities at ts[0], shape (n,), in the units of x to the power -d.
    Raises: ValueError: unless ts rises; for x0 without a sample axis.
    References: Chen et al. 2018, eq. (8); Grathwohl et al. 2019, eq. (8); Song et al. 2021, section 4.3.

    >>> from diffbook.generative.schedules import vp_linear
    >>> normal = lambda x, t: -x                              # data N(0, 1) stay so
    >>> value = log_likelihood(jnp.ones((1, 1)), normal, vp_linear(), jnp.linspace(0, 1, 5))
    >>> f"{value[0]:.3f}"                                      # - 1/2 - log(2 pi)/2
    '-1.419'
    """
    x0 = require_floating(x0, "x0", "log_likelihood")
    require(
        x0.ndim >= 2, f"log_likelihood needs x0 of shape (n, ...), got {x0.shape}; in one dimension write x0[:, None]"
    )
    times = static_value(ts)
    require(
        times is None
        or (times.ndim == 1 and times.size > 1 and times[0] >= 0 and bool((times[1:] > times[:-1]).all())),
        f"log_likelihood needs times ts that rise from 0 or more, got {times}; take e.g. jnp.linspace(0, 1, 101)",
    )
    n, shape = len(x0), x0.shape
    size = x0.size // max(n, 1)
    flow = probability_flow(forward_sde(schedule), score)
    if key is not None:
        check_key(key, "log_likelihood")
        signs = jax.random.rademacher(key, shape, x0.dtype)

    def joint(state, t):
        x = state[:, :size].reshape(shape)
        velocity, change = jax.linearize(lambda y: flow.drift(y, t), x)
        if key is not None:
            divergence = (change(signs) * signs).reshape(n, size).sum(1)
        else:

            def diagonal(i):
                unit = jnp.zeros((n, size), x.dtype).at[:, i].set(1)
                return change(unit.reshape(shape)).reshape(n, size)[:, i]

            divergence = lax.map(diagonal, jnp.arange(size)).sum(0)
        return jnp.concatenate([velocity.reshape(n, size), divergence[:, None]], 1)

    start = jnp.concatenate([x0.reshape(n, size), jnp.zeros((n, 1), x0.dtype)], 1)
    end = simulate(SDE(joint, zero), start, ts, step=step, save="last")
    noise = end[:, :size].reshape(shape)
    if log_prior is not None:
        return log_prior(noise) + end[:, size]
    var = jnp.asarray(schedule.var(jnp.asarray(ts)[-1]), x0.dtype)
    return end[:, size] - ((end[:, :size] ** 2).sum(1) / var + size * jnp.log(2 * jnp.pi * var)) / 2
