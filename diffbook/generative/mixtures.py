"""Mixtures of Gaussians, and finite sets of data: their score is known exactly at every noise level."""

import jax
import jax.numpy as jnp

from diffbook._checks import check_key, require, require_floating, static_value
from diffbook.generative.schedules import Schedule, per_sample


@jax.tree_util.register_pytree_node_class
class GaussianMixture:
    r"""Density $p(x) = \sum_k w_k\, \mathcal N(x;\, m_k, \operatorname{diag} s_k^2)$ on $\mathbb R^d$.

    Args:
      weights: shape (k,), positive, of sum 1.
      means: shape (k, d).
      stds: shape (k,), one width for all directions, or (k, d); positive.
    Raises: ValueError: if the shapes do not fit, a width or a weight is not positive, or the weights do not sum to 1.
    """

    def __init__(self, weights, means, stds):
        means = require_floating(means, "means", "GaussianMixture")
        weights, stds = jnp.asarray(weights, means.dtype), jnp.asarray(stds, means.dtype)
        require(
            means.ndim == 2 and weights.shape == means.shape[:1] and stds.shape in (means.shape[:1], means.shape),
            f"GaussianMixture needs shapes (k,), (k, d) and (k,) or (k, d), got {weights.shape}, {means.shape}, "
            f"{stds.shape}; in one dimension write means[:, None]",
        )
        w, s = static_value(weights), static_value(stds)
        require(
            w is None or (bool((w > 0).all()) and abs(w.sum() - 1) < 1e-5),
            f"GaussianMixture needs weights > 0 of sum 1, got {w}; divide them by their sum",
        )
        require(s is None or bool((s > 0).all()), f"GaussianMixture needs stds > 0, got {s}; take a small width for 0")
        self.weights, self.means = weights, means
        self.stds = stds if stds.ndim == 2 else jnp.broadcast_to(stds[:, None], means.shape)

    def tree_flatten(self):
        return (self.weights, self.means, self.stds), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        mixture = object.__new__(cls)
        mixture.weights, mixture.means, mixture.stds = leaves
        return mixture

    def sample(self, key, n: int):
        """n independent draws, shape (n, d)."""
        check_key(key, "GaussianMixture.sample")
        which, noise = jax.random.split(key)
        k = jax.random.categorical(which, jnp.log(self.weights), shape=(n,))
        z = jax.random.normal(noise, (n, self.means.shape[1]), self.means.dtype)
        return self.means[k] + self.stds[k] * z

    def _parts(self, x):
        """Standardised distances to each centre, (..., k, d), and log(w_k N_k(x)), (..., k)."""
        lead = (1,) * (x.ndim - 1)
        means, stds = (a.reshape(lead + a.shape) for a in (self.means, self.stds))
        z = (x[..., None, :] - means) / stds
        norm = jnp.log(self.weights) - jnp.sum(jnp.log(self.stds), -1) - 0.5 * z.shape[-1] * jnp.log(2 * jnp.pi)
        return z, stds, norm.reshape(lead + norm.shape) - 0.5 * jnp.sum(z**2, -1)

    def log_prob(self, x):
        r"""$\log p(x)$: shape (..., d) -> (...)."""
        x = require_floating(x, "x", "GaussianMixture.log_prob")
        return jax.nn.logsumexp(self._parts(x)[2], axis=-1)

    def score(self, x):
        r"""$\nabla \log p(x)$: shape (..., d) -> (..., d), the pulls of the components weighted by their probability
        of having made x. Safe in the tails, where p(x) underflows."""
        x = require_floating(x, "x", "GaussianMixture.score")
        z, stds, logs = self._parts(x)
        return jnp.sum(jax.nn.softmax(logs, axis=-1)[..., None] * (-z / stds), axis=-2)

    def diffused(self, schedule: Schedule, t) -> "GaussianMixture":
        r"""The law of $x_t = \alpha x_0 + \sigma\varepsilon$: again a mixture, with means $\alpha m_k$ and variances
        $\alpha^2 s_k^2 + \sigma^2$. t is a scalar, traced or not."""
        t = jnp.asarray(t, self.means.dtype)
        alpha, var = schedule.alpha(t), schedule.var(t)
        return GaussianMixture(self.weights, alpha * self.means, jnp.sqrt(alpha**2 * self.stds**2 + var))


def empirical_denoiser(x, t, data, schedule: Schedule):
    r"""The exact optimum of every denoising loss for a finite data set: the mean of the data, each weighted by its
    chance of having become x, $\mathbb E[x_0 | x_t = x] = \sum_i w_i d_i$ with
    $w_i \propto \exp(-|x - \alpha d_i|^2 / 2\sigma^2)$.

    Args:
      x: noisy samples, shape (n, ...).
      t: scalar or shape (n,), t > 0; at t = 0, where the variance is 0, the result is NaN.
      data: shape (m, ...), each equally probable.
    Returns: like x, inside the convex hull of the data; in memory for n m weights. Two data points equally near x are
      told apart to a relative error of the weights of about eps |x| |d| / variance, eps of the dtype.
    Raises: ValueError: if data and x are not of one shape beyond their first axis.
    References: Karras et al. 2022, appendix B.3; it is kernel regression (Nadaraya 1964, Watson 1964).

    >>> from diffbook.generative.schedules import straight
    >>> data = jnp.array([[-1.0], [1.0]])
    >>> bool(jnp.allclose(empirical_denoiser(jnp.array([[0.3]]), 0.5, data, straight()), jnp.tanh(0.5 * 0.3 / 0.25)))
    True
    """
    x = require_floating(x, "x", "empirical_denoiser")
    data = jnp.asarray(data, x.dtype)
    require(
        data.ndim >= 1 and len(data) > 0 and x.ndim == data.ndim and x.shape[1:] == data.shape[1:],
        f"empirical_denoiser needs x (n, ...) and data (m, ...) of one sample shape, got {x.shape} and {data.shape}; "
        "give a single sample as x[None]",
    )
    t = jnp.asarray(t, x.dtype)
    flat, points = x.reshape(len(x), -1), data.reshape(len(data), -1)
    alpha, var = per_sample(schedule.alpha(t), flat), per_sample(schedule.var(t), flat)
    centre = points.mean(axis=0, keepdims=True)
    points = points - centre  # |x|^2 cancels between the weights; a common centre cancels with less rounding
    overlap = jnp.matmul(flat - alpha * centre, points.T, precision="highest")
    logs = alpha * (overlap - alpha * (0.5 * jnp.sum(points**2, axis=1))[None]) / var
    mean = jnp.matmul(jax.nn.softmax(logs, axis=1), points, precision="highest") + centre
    return mean.reshape(x.shape)
