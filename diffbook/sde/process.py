r"""One stochastic differential equation, and the two ways back from noise to data.

$$dX = f(X, t)\,dt + g(X, t)\,dW \qquad \text{(Ito; diagonal noise: } g_i \text{ depends on } x_i \text{ and t alone)}$$
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial


class SDE(NamedTuple):
    r"""The Ito equation $dX = f(X, t)\,dt + g(X, t)\,dW$.

    A pair of functions of `(x, t)`, t a scalar, that return an array like x or one number for all its entries. Give a
    function its parameters by `jax.tree_util.Partial(function, *parameters)`, with `function(*parameters, x, t)`, and
    `simulate` compiles it once for all their values.

    Args:
      drift: f, length/time.
      diffusion: g, length/time**(1/2), with g**2 = 2 D for a diffusivity D. Component i of it may depend on x_i only.
        `zero` makes a deterministic flow, which needs no key.

    >>> decay = SDE(lambda x, t: -x, zero)
    >>> decay.drift(jnp.ones(2), 0.0)
    Array([-1., -1.], dtype=float32)
    """

    drift: Callable
    diffusion: Callable


def zero(x, t):
    """No drift, or no noise: zeros like x. `simulate` draws no random numbers for a diffusion that is this function."""
    return jnp.zeros_like(x)


def _squared_diffusion(sde, x, t):
    """g**2 and its divergence. The Jacobian of diagonal noise is diagonal, so that one tangent of ones reads it off."""
    return jax.jvp(lambda y: sde.diffusion(y, t) ** 2, (x,), (jnp.ones_like(x),))


def _backward_drift(weight, sde, score, x, t):
    g2, slope = _squared_diffusion(sde, x, t)
    return sde.drift(x, t) - weight * (slope + g2 * score(x, t))


def reverse(sde: SDE, score: Callable) -> SDE:
    r"""`sde` run backwards: drift $f - \partial_x (g^2) - g^2\,\nabla \log p_t$, noise g, on the same clock.

    Simulated on a *falling* time grid from samples of $p_T$, it passes through $p_t$ at every t on its way to $p_0$. A
    step has dt < 0, so that the drift pushes up the score; its noise has variance |dt|. Ito: a step that reads an
    equation in another sense (`heun`) needs a g that does not depend on x.

    Args:
      sde: forward equation.
      score: $\nabla \log p_t(x)$, function of (x, t) that returns an array like x: p_t is the law of `sde`'s X_t.
    Returns: an SDE. Where g vanishes like a square root, the derivative of g**2 comes out as 0 * inf = NaN.
    References: Anderson 1982; Song et al. 2021, appendix A.

    >>> from diffbook.sde import brownian, simulate
    >>> back = reverse(brownian(1.0), lambda x, t: -x / (1 + 2 * t))     # of N(0, 1) data, spread by D = 1
    >>> noise = jnp.sqrt(3.0) * jax.random.normal(jax.random.key(0), (20_000,))
    >>> data = simulate(back, noise, jnp.linspace(1.0, 0.0, 201), key=jax.random.key(1), save="last")
    >>> f"variance {data.var():.1f}"
    'variance 1.0'
    """
    return SDE(Partial(_backward_drift, 1.0, sde, score), sde.diffusion)


def probability_flow(sde: SDE, score: Callable) -> SDE:
    r"""The flow with `sde`'s law at every t: $\dot x = f - \frac12 \partial_x (g^2) - \frac12 g^2\,\nabla \log p_t$.

    It draws no random numbers and runs either way: from data to noise on a rising time grid, back on a falling one. In
    one dimension it keeps every path at its quantile.

    Args: as of `reverse`.
    Returns: an SDE whose diffusion is `zero`.
    References: Maoutsa, Reich & Opper 2020; Song et al. 2021, eq. (13) and appendix D.1.

    >>> from diffbook.sde import brownian, heun, simulate
    >>> flow = probability_flow(brownian(1.0), lambda x, t: -x / (1 + 2 * t))
    >>> data = simulate(flow, jnp.sqrt(3.0) * jnp.ones(2), jnp.linspace(1.0, 0.0, 101), step=heun, save="last")
    >>> [f"{x:.3f}" for x in data]
    ['1.000', '1.000']
    """
    return SDE(Partial(_backward_drift, 0.5, sde, score), zero)
