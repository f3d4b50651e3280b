r"""Steps from noise to data on the chain of Ho et al. 2020, and the loop that takes them.

Steps count $k = N, N-1, \dots, 1$ as in the paper; k = 0 is data. The loop is `diffbook.sde.simulate` itself, on the
clock k: there is one integrator in this package.
"""

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from diffbook._checks import require, require_choice, require_count, require_floating, static_value
from diffbook.generative.schedules import per_sample, require_betas
from diffbook.sde import SDE, simulate


def ddpm_betas(num_steps: int = 1000, beta_min: float = 1e-4, beta_max: float = 0.02) -> Float[Array, " num_steps"]:
    r"""Noise variance $\beta_k$ added by each step, rising linearly.

    Args:
      num_steps: N >= 1.  beta_min, beta_max: first and last value, in (0, 1).
    Returns: shape (num_steps,); beta_k is entry k - 1.
    Raises: ValueError: outside those ranges.
    References: Ho et al. 2020, section 4.

    >>> f"{alpha_bars(ddpm_betas())[1000]:.4e}"
    '4.0358e-05'
    """
    num_steps = require_count(num_steps, "num_steps", "ddpm_betas", 1)
    require(
        0 < beta_min <= beta_max < 1,
        f"ddpm_betas needs 0 < beta_min <= beta_max < 1, got {beta_min=}, {beta_max=}; published: 1e-4, 0.02",
    )
    return jnp.asarray(np.linspace(beta_min, beta_max, num_steps), float)


def _log_alpha_bars(betas):
    return jnp.concatenate([jnp.zeros(1, betas.dtype), jnp.cumsum(jnp.log1p(-betas))])


def alpha_bars(betas: Float[Array, " num_steps"]) -> Float[Array, " num_steps+1"]:
    r"""Signal *power* left after k steps, $\bar\alpha_k = \prod_{i \le k} (1 - \beta_i)$, for k = 0 ... N.

    References: Ho et al. 2020, eq. (4).
    """
    return jnp.exp(_log_alpha_bars(require_betas(betas, "alpha_bars")))


def respace(betas: Float[Array, " num_steps"], ks) -> Float[Array, " fewer"]:
    r"""The betas of the chain that visits only the levels `ks`, $\beta'_j = 1 - \bar\alpha_{k_j}/\bar\alpha_{k_{j-1}}$.

    Args:
      betas: shape (num_steps,).  ks: rising integers in 1 ... num_steps, e.g. (100, 200, ..., 1000).
    Returns: shape (len(ks),); step j of the new chain is at the noise level of step ks[j - 1] of the old one.
    Raises: ValueError: if ks does not rise within 1 ... num_steps.
    References: Nichol & Dhariwal 2021, eq. (19).
    """
    betas = require_betas(betas, "respace")
    ks = np.asarray(ks)
    require(
        ks.ndim == 1 and ks.size > 0 and ks.dtype.kind in "iu" and ks[0] >= 1 and ks[-1] <= len(betas)
        and bool((np.diff(ks) > 0).all()),
        f"respace needs rising integers in 1 ... {len(betas)}, got ks={ks}; take e.g. range(10, {len(betas)} + 1, 10)",
    )  # fmt: skip
    logs = _log_alpha_bars(betas)[np.concatenate([[0], ks])]
    return -jnp.expm1(jnp.diff(logs))


def _step_arguments(x, k, eps, betas, where, least=1):
    x = require_floating(x, "x", where)
    betas = require_betas(betas, where)
    require(eps.shape == x.shape, f"{where} needs eps like x, got {eps.shape} for {x.shape}; check the network")
    value = static_value(k)
    require(
        value is None or bool(((value >= least) & (value <= len(betas))).all()),
        f"{where} needs {least} <= k <= {len(betas)}, got k={value}; steps count down to 1, and k = 0 is data",
    )
    logs = _log_alpha_bars(betas.astype(x.dtype))
    return x, betas.astype(x.dtype), logs


def denoised(x, k, eps, betas, clip=None):
    r"""The clean sample that a noise prediction amounts to,
    $\hat x_0 = (x - \sqrt{1 - \bar\alpha_k}\,\varepsilon)/\sqrt{\bar\alpha_k}$.

    Args:
      x, eps: shape (n, ...).  k: scalar or (n,), in 1 ... num_steps.  betas: shape (num_steps,).
      clip: None, or the largest magnitude that data have; the estimate is clipped to it.
    References: Ho et al. 2020, eq. (15).
    """
    x, betas, logs = _step_arguments(x, k, eps, betas, "denoised")
    x0 = (x - per_sample(jnp.sqrt(-jnp.expm1(logs[k])), x) * eps) / per_sample(jnp.exp(0.5 * logs[k]), x)
    return x0 if clip is None else jnp.clip(x0, -clip, clip)


def clip_eps(x, k, eps, betas, limit=1.0):
    """The noise prediction, changed where needed so that the clean sample it amounts to stays within [-limit, limit].

    References: Ho et al. 2020, in their published code; not in the paper.
    """
    x0 = denoised(x, k, eps, betas, clip=limit)
    logs = _log_alpha_bars(betas.astype(x.dtype))
    return (x - per_sample(jnp.exp(0.5 * logs[k]), x) * x0) / per_sample(jnp.sqrt(-jnp.expm1(logs[k])), x)


def ddpm_step(x, k, eps, betas, z, variance="beta"):
    r"""One ancestral step,
    $x_{k-1} = (x_k - \beta_k\,\varepsilon/\sqrt{1 - \bar\alpha_k})/\sqrt{1 - \beta_k} + \sigma_k z$.

    Args:
      x: x_k, shape (n, ...).  k: scalar or (n,), in 1 ... num_steps.  eps: predicted noise, like x.
      betas: shape (num_steps,).  z: standard normal, like x; ignored at k = 1.
      variance: "beta", $\sigma_k^2 = \beta_k$, right if $x_0$ is standard normal, or "posterior",
        $\sigma_k^2 = \beta_k (1 - \bar\alpha_{k-1})/(1 - \bar\alpha_k)$, right if $x_0$ is one point. The truth is
        between.
    Returns: x_{k-1}, like x. Traced k outside the range gives NaN or a neighbour's step, unchecked.
    Raises: ValueError: for k outside the range, shapes that do not fit, an unknown variance.
    References: Ho et al. 2020, algorithm 2 and section 3.2.
    """
    require_choice(variance, ("beta", "posterior"), "variance", "ddpm_step")
    x, betas, logs = _step_arguments(x, k, eps, betas, "ddpm_step")
    require(z.shape == x.shape, f"ddpm_step needs z like x, got {z.shape} for {x.shape}; draw it in x's shape")
    k = jnp.asarray(k)
    beta, noise = betas[k - 1], -jnp.expm1(logs[k])
    mean = (x - per_sample(beta / jnp.sqrt(noise), x) * eps) / per_sample(jnp.sqrt(1 - beta), x)
    var = beta if variance == "beta" else beta * -jnp.expm1(logs[k - 1]) / noise
    return mean + per_sample(jnp.where(k > 1, jnp.sqrt(var), 0), x) * z


def ddim_step(x, k, k_next, eps, betas):
    r"""One deterministic step, of any length,
    $x_{k'} = \sqrt{\bar\alpha_{k'}}\,\hat x_0 + \sqrt{1 - \bar\alpha_{k'}}\,\varepsilon$.

    Args:
      x: x_k, shape (n, ...).  k: scalar or (n,), in 1 ... num_steps.  k_next: k', in 0 ... num_steps; 0 is data.
      eps: predicted noise, like x.  betas: shape (num_steps,).
    Returns: x_{k'}, like x.
    Raises: ValueError: for k outside the range or shapes that do not fit.
    References: Song, Meng & Ermon 2021, eq. (12) with sigma = 0.
    """
    x0 = denoised(x, k, eps, betas)
    x, betas, logs = _step_arguments(x, k_next, eps, betas, "ddim_step", least=0)
    return per_sample(jnp.exp(0.5 * logs[k_next]), x) * x0 + per_sample(jnp.sqrt(-jnp.expm1(logs[k_next])), x) * eps


def _one(x, k):
    return jnp.ones_like(x)  # noise of unit strength, which makes `simulate` draw some


def _move(step, sde, x, k, dk, dw):
    k, k_next = (jnp.round(level).astype(int) for level in (k, k + dk))
    return step(x, k, k_next, sde.drift(x, k), (dw / jnp.sqrt(-dk)).astype(x.dtype))


def sample(predict, x, ks, step, *, key, save="last"):
    """Walk from noise level ks[0] down to ks[-1]: at each, ask the network once and take one step.

    Args:
      predict: predict(x, k) -> noise, k a scalar integer array.
      x: start, shape (n, ...), e.g. standard normal at k = N.
      ks: falling integers, shape (m + 1,): m network calls. A long way can be gone in stretches, with a progress bar
        between them, whose last and first levels agree; each needs its own key.
      step: step(x, k, k_next, eps, z) -> x at k_next, e.g.
        `lambda x, k, k_next, eps, z: ddpm_step(x, k, eps, betas, z)`; z is standard normal like x.
      key: typed random key.
      save: "last" -> like x; "path" -> (m + 1, n, ...).
    Raises: ValueError: unless ks falls and ends at 0 or above.
    """
    x = require_floating(x, "x", "sample")
    ks = np.asarray(ks)
    require(
        ks.ndim == 1 and ks.size > 1 and ks.dtype.kind in "iu" and ks[-1] >= 0 and bool((np.diff(ks) < 0).all()),
        f"sample needs falling integers that end at 0 or above, got ks={ks}; take e.g. range(num_steps, -1, -1)",
    )

    levels = jnp.asarray(ks, jnp.promote_types(x.dtype, jnp.float32))
    return simulate(SDE(predict, _one), x, levels, key=key, step=Partial(_move, step), save=save)
