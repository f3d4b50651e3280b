r"""Noise schedules: how much signal, $\alpha(t)$, and how much noise, $\sigma^2(t)$, are left at time $t$.

$$x_t = \alpha(t)\, x_0 + \sqrt{\sigma^2(t)}\;\varepsilon, \qquad \varepsilon \sim \mathcal N(0, I),\ 0 \le t \le 1.$$

A schedule is stated once, by these two functions; the drift and the noise of the forward SDE follow by differentiation.
The *variance* is stored, not its root, whose derivative at $t = 0$ is infinite.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float

from diffbook._checks import require, require_floating, static_value
from diffbook.sde import SDE


@dataclasses.dataclass(frozen=True)
class Schedule:
    r"""Signal amplitude $\alpha(t)$ and noise variance $\sigma^2(t)$ with $\alpha(0) = 1$, $\sigma^2(0) = 0$.

    Args:
      alpha: function of a scalar or array t in [0, 1], same shape out.
      var: likewise; exactly 0 at t = 0 and rising.
    """

    alpha: Callable
    var: Callable


def vp_linear(beta_min: float = 0.1, beta_max: float = 20.0) -> Schedule:
    r"""Variance preserving, rate $\beta(t)$ rising linearly: $\alpha^2 = e^{-B(t)}$, $\sigma^2 = 1 - e^{-B(t)}$,
    $B(t) = \beta_{\min} t + (\beta_{\max} - \beta_{\min})\, t^2/2$.

    Args:
      beta_min, beta_max: rates at t = 0 and t = 1, per unit of t.
    Raises: ValueError: unless 0 <= beta_min <= beta_max and beta_max > 0.
    References: Song et al. 2021, eq. (11) and appendix C; the limit of the steps of Ho et al. 2020.

    >>> f"{float(vp_linear().alpha(1.0)):.5f}"
    '0.00657'
    """
    require(
        0 <= beta_min <= beta_max < math.inf and beta_max > 0,
        f"vp_linear needs 0 <= beta_min <= beta_max and beta_max > 0, got {beta_min=}, {beta_max=}; "
        "the published values are 0.1 and 20",
    )

    def integral(t):
        return beta_min * t + 0.5 * (beta_max - beta_min) * t * t

    return Schedule(lambda t: jnp.exp(-0.5 * integral(t)), lambda t: -jnp.expm1(-integral(t)))


def vp_cosine(offset: float = 0.008) -> Schedule:
    r"""Variance preserving, $\alpha = \cos(a + (\pi/2 - a)\,t) / \cos a$ with $a = \frac{\pi}{2}\frac{s}{1+s}$.

    At t = 1 the signal is exactly 0, and the rate of the forward SDE, $-2\alpha'/\alpha$, infinite: stop just before.

    Args:
      offset: s >= 0; keeps the noise of the first steps from being too small.
    Raises: ValueError: if offset is negative.
    References: Nichol & Dhariwal 2021, eq. (17).
    """
    require(0 <= offset < math.inf, f"vp_cosine needs offset >= 0, got {offset=}; the published value is 0.008")
    start = 0.5 * math.pi * offset / (1 + offset)
    rate = 0.5 * math.pi - start

    # cos b = sin(pi/2 - b) and cos^2 a - cos^2 b = sin(b - a) sin(b + a) hold both ends free of cancellation.
    def alpha(t):
        return jnp.sin(rate * (1 - t)) / math.cos(start)

    def var(t):
        return jnp.sin(rate * t) * jnp.sin(rate * t + 2 * start) / math.cos(start) ** 2

    return Schedule(alpha, var)


def ve(sigma_min: float, sigma_max: float) -> Schedule:
    r"""Variance exploding: the signal keeps its size,
    $\sigma^2 = \sigma_{\min}^2\,(e^{2 t \log(\sigma_{\max}/\sigma_{\min})} - 1)$.

    Args:
      sigma_min, sigma_max: scale of the noise at the ends, in units of the data.
    Raises: ValueError: unless 0 < sigma_min < sigma_max.
    References: Song et al. 2021, appendix C (with $\sigma^2(0)$ subtracted, so that no noise means none).
    """
    require(
        0 < sigma_min < sigma_max < math.inf,
        f"ve needs 0 < sigma_min < sigma_max, got {sigma_min=}, {sigma_max=}; take e.g. 0.01 and 50",
    )
    growth = 2 * math.log(sigma_max / sigma_min)

    def alpha(t):
        return jnp.ones_like(t, dtype=jnp.result_type(float, t))

    def var(t):
        return sigma_min**2 * jnp.expm1(growth * t)

    return Schedule(alpha, var)


def straight() -> Schedule:
    r"""Straight lines from data to noise, $\alpha = 1 - t$, $\sigma^2 = t^2$: the schedule of flow matching.

    At t = 1 no signal is left and the rate of the forward SDE is infinite: stop just before.

    References: Lipman et al. 2023; Liu et al. 2023.
    """
    return Schedule(lambda t: 1.0 - t, lambda t: 1.0 * t * t)


def from_betas(betas: Float[Array, " num_steps"]) -> Schedule:
    r"""The chain with steps $\beta_1 \dots \beta_N$ as a schedule: exact at $t = k/N$, $\log\bar\alpha$ linear between.

    Args:
      betas: shape (num_steps,), each in (0, 1).
    Returns: a schedule with $\alpha(k/N)^2 = \bar\alpha_k = \prod_{i \le k} (1 - \beta_i)$.
    Raises: ValueError: if a beta lies outside (0, 1).
    References: Ho et al. 2020, eq. (4).
    """
    betas = require_betas(betas, "from_betas")
    log_abar = jnp.concatenate([jnp.zeros(1, betas.dtype), jnp.cumsum(jnp.log1p(-betas))])
    grid = jnp.arange(len(log_abar), dtype=betas.dtype) / len(betas)

    def at(t):
        return jnp.interp(t, grid, log_abar)

    return Schedule(lambda t: jnp.exp(0.5 * at(t)), lambda t: -jnp.expm1(at(t)))


def require_betas(betas, where):
    """`betas` as an array of shape (num_steps,), refused unless every step lies in (0, 1)."""
    betas = require_floating(betas, "betas", where)
    require(
        betas.ndim == 1 and betas.size > 0,
        f"{where} needs betas of shape (num_steps,), got {betas.shape}; pass one number per step",
    )
    value = static_value(betas)
    require(
        value is None or bool(((value > 0) & (value < 1)).all()),
        f"{where} needs 0 < beta < 1 in every step, got betas={value}; take more and smaller steps",
    )
    return betas


def derivatives(schedule: Schedule, t):
    r"""$(\alpha, \alpha', \sigma^2, (\sigma^2)')$ at t (a scalar or an array), by forward differentiation."""
    t = jnp.asarray(t, jnp.result_type(float, t))
    alpha, dalpha = jax.jvp(schedule.alpha, (t,), (jnp.ones_like(t),))
    var, dvar = jax.jvp(schedule.var, (t,), (jnp.ones_like(t),))
    return alpha, dalpha, var, dvar


def forward_sde(schedule: Schedule) -> SDE:
    r"""The forward SDE of a schedule, $dx = f\,dt + g\,dW$ with $f = \frac{\alpha'}{\alpha} x$ and
    $g^2 = (\sigma^2)' - 2 \frac{\alpha'}{\alpha} \sigma^2$.

    Started from $x_0$, it has at every t the law $\mathcal N(\alpha x_0, \sigma^2 I)$ of `perturb`. Times are scalars.
    Where alpha(t) = 0 (t = 1 of `straight` and `vp_cosine`) drift and noise are infinite or NaN.

    References: Song et al. 2021, eq. (29); Kingma et al. 2021, eq. (2)-(3) of the supplement.
    """

    return SDE(Partial(_drift, schedule), Partial(_diffusion, schedule))


def _drift(schedule, x, t):
    alpha, dalpha, _, _ = derivatives(schedule, jnp.asarray(t, x.dtype))
    return dalpha / alpha * x


def _diffusion(schedule, x, t):
    alpha, dalpha, var, dvar = derivatives(schedule, jnp.asarray(t, x.dtype))
    g2 = dvar - 2 * dalpha / alpha * var
    return jnp.full_like(x, jnp.sqrt(jnp.maximum(g2, 0)))  # rounding can leave a small negative number


def per_sample(c, x):
    """A number per sample, shape (n,), or one for all, shape (), shaped to multiply x of shape (n, ...)."""
    c = jnp.asarray(c, x.dtype)
    require(
        c.ndim == 0 or (c.ndim == 1 and x.ndim > 0 and len(c) == len(x)),
        f"t needs shape () or one entry per sample, got shape {c.shape} for samples of shape {x.shape}; "
        "repeat it with jnp.full(len(x), t)",
    )
    return c.reshape(c.shape + (1,) * (x.ndim - c.ndim))


def perturb(x0, t, eps, schedule: Schedule):
    r"""Noisy data, $x_t = \alpha(t)\, x_0 + \sigma(t)\, \varepsilon$.

    Args:
      x0: shape (n, ...).  t: scalar or shape (n,), one time per sample, in [0, 1].  eps: standard normal, like x0.
    Returns: x_t, shape and dtype of x0; x0 itself at t = 0.
    Raises: ValueError: if the shapes do not fit.
    References: Ho et al. 2020, eq. (4).

    >>> perturb(jnp.ones((2, 3)), jnp.array([0.0, 1.0]), jnp.zeros((2, 3)), straight())[:, 0]
    Array([1., 0.], dtype=float32)
    """
    x0 = require_floating(x0, "x0", "perturb")
    eps = jnp.asarray(eps, x0.dtype)
    require(eps.shape == x0.shape, f"perturb needs eps like x0, got {eps.shape} for {x0.shape}; draw it in x0's shape")
    t = jnp.asarray(t, x0.dtype)
    return per_sample(schedule.alpha(t), x0) * x0 + per_sample(jnp.sqrt(schedule.var(t)), x0) * eps
