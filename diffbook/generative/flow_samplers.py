r"""Few steps from noise to data, along the probability flow or the reverse SDE, on any schedule and any grid of times.

In $\hat x = x/\alpha$ and $\hat\sigma = \sigma/\alpha$ the flow reads $d\hat x/d\hat\sigma = \varepsilon(x, t)$. A step
that holds the noise estimate still is DDIM's; every other step here is that one plus a correction. The loop is
`diffbook.sde.simulate` on the clock k = 0, 1, ... that counts the times of the grid.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float

from diffbook._checks import require, require_choice, require_floating, static_value
from diffbook.generative.schedules import Schedule
from diffbook.generative.targets import TARGETS, x0_and_eps
from diffbook.sde import SDE, simulate, zero


class Level(NamedTuple):
    r"""One time of the grid, with signal amplitude $\alpha$ and noise amplitude $\sigma$ there; three scalars."""

    t: Array
    alpha: Array
    sigma: Array


class Move(NamedTuple):
    r"""What a step has to go by, on its way from the level `now` to the level `then`.

    `there` is where DDIM arrives, $\alpha' \hat x_0 + \sigma'\hat\varepsilon$; `last_x0` the estimate made at `before`,
    zeros when `first`; `z` standard normal if a key was given, else zeros. `estimate(x, t)` -> (x0, eps) asks again.
    """

    there: Array
    x0: Array
    eps: Array
    last_x0: Array
    z: Array
    first: Array
    before: Level
    now: Level
    then: Level
    estimate: Callable


def ddim(move: Move):
    r"""The flow for a noise estimate that stays as it is: $x' = \alpha' \hat x_0 + \sigma' \hat\varepsilon$. Order 1.

    References: Song, Meng & Ermon 2021, eq. (12) with sigma = 0.
    """
    return move.there


def heun(move: Move):
    r"""The mean of the noise estimates at both ends: $x' = x'_{\rm DDIM} +
    (\sigma' - \alpha'\sigma/\alpha)\,(\hat\varepsilon' - \hat\varepsilon)/2$. Order 2, two calls a step.

    Where $\alpha = 0$ or $\sigma' = 0$ it is DDIM's step, with one call.

    References: Karras et al. 2022, algorithm 1.
    """
    now, then = move.now, move.then

    def corrected(there):
        _, eps = move.estimate(there, then.t)
        return there + (then.sigma - then.alpha * now.sigma / now.alpha) / 2 * (eps - move.eps)

    return lax.cond((now.alpha > 0) & (then.sigma > 0), corrected, lambda there: there, move.there)


def _trend(move: Move):
    """By how much the line through the last two estimates of the clean sample goes on until the middle of the step."""
    before, now, then = (jnp.log(at.alpha) - jnp.log(at.sigma) for at in (move.before, move.now, move.then))
    weight = jnp.where(move.first | (move.then.sigma == 0), 0, (then - now) / (2 * (now - before)))
    return weight * (move.x0 - move.last_x0)


def dpm_solver_pp_2m(move: Move):
    r"""The clean sample's estimate, continued in $\lambda = \log(\alpha/\sigma)$ along the line through the last two:
    $x' = x'_{\rm DDIM} + (\alpha' - \alpha\sigma'/\sigma)\,\frac{h}{2 h_-}(\hat x_0 - \hat x_{0-})$. Order 2, one call.

    h and h_- are this step and the last one in lambda. The first step, and one that ends at $\sigma' = 0$, is DDIM's.

    References: Lu et al. 2022 (DPM-Solver++), algorithm 2.
    """
    gain = move.then.alpha - move.now.alpha * move.then.sigma / move.now.sigma
    return move.there + gain * _trend(move)


def ddpm(move: Move, eta: float = 1.0):
    r"""A step with fresh noise in place of a part of the estimated one: $x' = \alpha'\hat x_0 +
    \sqrt{\sigma'^2 - s^2}\,\hat\varepsilon + s z$, $s = \eta\,\frac{\sigma'}{\sigma}
    \sqrt{\sigma^2 - \alpha^2\sigma'^2/\alpha'^2}$.

    With eta = 1 it is the step of DDPM with the posterior's variance, with eta = 0 DDIM's. Weak order 1.

    References: Song, Meng & Ermon 2021, eq. (12) and (16).
    """
    now, then = move.now, move.then
    rest = jnp.maximum(now.sigma**2 - (now.alpha * then.sigma / then.alpha) ** 2, 0)
    s = eta * then.sigma / now.sigma * jnp.sqrt(rest)
    kept = jnp.sqrt(jnp.maximum(then.sigma**2 - s**2, 0))
    return move.there + (kept - then.sigma) * move.eps + s * move.z


def sde_dpm_solver_pp_2m(move: Move):
    r"""The same continuation on the way of the reverse SDE: the step of `ddpm` plus
    $\alpha'(1 - e^{-2h})\,\frac{h}{2 h_-}(\hat x_0 - \hat x_{0-})$. For Gaussian data the variance is right to order 2.

    Noise added and removed again wears off the errors of earlier steps, the network's among them.

    References: Lu et al. 2022 (DPM-Solver++), SDE-DPM-Solver++(2M).
    """
    now, then = move.now, move.then
    gain = then.alpha - (now.alpha * then.sigma / now.sigma) ** 2 / then.alpha
    return ddpm(move) + gain * _trend(move)


def _estimate(predict, kind, limit, schedule, x, t):
    x0, eps = x0_and_eps(predict(x, t), x, t, schedule, kind)
    if limit is not None:
        x0 = jnp.clip(x0, -limit, limit)
        alpha, sigma = (jnp.asarray(c, x.dtype) for c in (schedule.alpha(t), jnp.sqrt(schedule.var(t))))
        eps = (x - alpha * x0) / sigma
    return x0, eps


def _move(step, ts, schedule, sde, state, k, dk, dw):
    x, last_x0 = state
    k = jnp.round(k).astype(int)
    times = (ts[jnp.maximum(k - 1, 0)], ts[k], ts[k + 1])
    before, now, then = (
        Level(t, *(jnp.asarray(c, x.dtype) for c in (schedule.alpha(t), jnp.sqrt(schedule.var(t))))) for t in times
    )
    x0, eps = sde.drift(x, now.t)
    there = then.alpha * x0 + then.sigma * eps
    move = Move(there, x0, eps, last_x0, dw[0].astype(x.dtype), k == 0, before, now, then, sde.drift)
    return jnp.stack([step(move), x0])


def _one(x, t):
    return jnp.ones_like(x)  # noise of unit strength, which makes `simulate` draw some


def sample_flow(
    predict, x, ts, schedule: Schedule, *, kind="eps", step=dpm_solver_pp_2m, limit=None, key=None, save="last"
) -> Float[Array, "..."]:
    """Walk from noise at ts[0] down to ts[-1]: at each time ask the network once (`heun`: twice) and take one step.

    Args:
      predict: predict(x, t) -> array like x, t a scalar; e.g. `lambda x, t: model(x, t, labels)`.
      x: start, shape (n, ...), of the law of noise at ts[0].
      ts: falling times, shape (m + 1,), down to 0 or a little above: m network calls; of Heun's 2 m, less one for each
        end with alpha = 0 or sigma = 0. See `times_of_noise` and `edm_sigmas`.
      schedule: of the noise.  kind: what `predict` predicts, one of `TARGETS`. "eps" and "score" need alpha(ts[0]) > 0.
      step: `ddim`, `heun`, `dpm_solver_pp_2m`; with a key `ddpm`, `sde_dpm_solver_pp_2m`; or step(move) -> x.
      limit: None, or the largest magnitude that data have; the estimates of the clean sample are clipped to it.
      key: typed random key for a step that adds noise.
      save: "last" -> like x; "path" -> (m + 1, n, ...).
    Returns: samples at ts[-1], dtype of x.
    Raises: ValueError: unless ts falls and ends at 0 or above, and for an unknown kind.
    References: as of the steps; the change of variables is Karras et al. 2022, eq. (4).

    >>> from diffbook.generative.schedules import vp_linear
    >>> schedule = vp_linear()
    >>> point = lambda x, t: (x - 3.0 * schedule.alpha(t)) / jnp.sqrt(schedule.var(t))     # all data are 3
    >>> data = sample_flow(point, jnp.array([0.5, -2.0]), jnp.array([1.0, 0.5, 0.0]), schedule)
    >>> [f"{x:.3f}" for x in data]
    ['3.000', '3.000']
    """
    require_choice(kind, TARGETS, "kind", "sample_flow")
    require_choice(save, ("path", "last"), "save", "sample_flow")
    x = require_floating(x, "x", "sample_flow")
    value = static_value(ts)
    require(
        value is None or (value.ndim == 1 and value.size > 1 and value[-1] >= 0 and bool((np.diff(value) < 0).all())),
        f"sample_flow needs falling times that end at 0 or above, got ts={value}; take e.g. jnp.linspace(1, 0, 11)",
    )
    ts = jnp.asarray(ts, jnp.promote_types(x.dtype, jnp.float32))
    estimate = Partial(_estimate, predict, kind, limit, schedule)
    clock = np.arange(len(ts), dtype=ts.dtype)
    out = simulate(
        SDE(estimate, zero if key is None else _one),
        jnp.stack([x, jnp.zeros_like(x)]),
        clock,
        key=key,
        step=Partial(_move, step, ts, schedule),
        save=save,
    )
    return out[0] if save == "last" else out[:, 0]
