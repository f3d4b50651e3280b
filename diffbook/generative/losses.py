"""Losses whose minimum is a denoiser, or a score, which is the same knowledge."""

import jax
import jax.numpy as jnp

from diffbook._checks import check_key, require, require_choice, require_floating
from diffbook.generative.schedules import Schedule, per_sample, perturb
from diffbook.generative.targets import TARGETS, target


def denoising_loss(
    model, x0, schedule: Schedule, *, key, predict="eps", labels=None, t=None, t_min=1e-3, t_max=1.0, weight=None
):
    r"""Mean square of what the network says at a noisy sample minus what it should have said,
    $\mathbb E_{t,\varepsilon}\; w(t)\, |\text{model}(x_t, t) - y|^2 / d$ with $x_t = \alpha x_0 + \sigma\varepsilon$.

    With `predict="eps"`, w = 1 it is the simple loss of Ho et al. Its minimum is the conditional mean E[y | x_t], and
    the least value not 0 but the mean conditional variance of y.

    Args:
      model: called as model(x, t) or, with labels, model(x, t, labels).
      x0: clean samples, shape (n, ...).
      key: typed random key, for the times and the noise.
      predict: what y is: "eps", "x0", "v", "score" or "velocity".
      labels: shape (n,), handed to the model.
      t: times, shape (n,); drawn uniformly from [t_min, t_max] if left out, one in each of n equal intervals.
      t_min, t_max: range of the times. At t = 0 "score" and "velocity" are infinite or NaN.
      weight: function w(t); 1 if left out.
    Returns: a scalar.
    Raises: ValueError: for an unknown `predict`, a bad range, or a model that changes the shape.
    References: Vincent 2011; Ho et al. 2020, eq. (14).

    >>> from diffbook.generative.schedules import straight
    >>> zero = lambda x, t: jnp.zeros_like(x)
    >>> x0 = jnp.zeros((100_000, 1))
    >>> round(float(denoising_loss(zero, x0, straight(), key=jax.random.key(0))), 1)  # predicts nothing: E eps^2
    1.0
    """
    require_choice(predict, TARGETS, "predict", "denoising_loss")
    check_key(key, "denoising_loss")
    x0 = require_floating(x0, "x0", "denoising_loss")
    require(0 <= t_min < t_max <= 1, f"times need 0 <= t_min < t_max <= 1, got {t_min=}, {t_max=}; take 1e-3 and 1")
    time_key, noise_key = jax.random.split(key)
    if t is None:
        strata = (jnp.arange(len(x0), dtype=x0.dtype) + jax.random.uniform(time_key, (len(x0),), x0.dtype)) / len(x0)
        t = t_min + (t_max - t_min) * strata
    t = jnp.asarray(t, x0.dtype)
    # Drawn flat: the same numbers, where the draw of a film in its own shape takes XLA twenty seconds to compile.
    eps = jax.random.normal(noise_key, (x0.size,), x0.dtype).reshape(x0.shape)
    x = perturb(x0, t, eps, schedule)
    output = model(x, t) if labels is None else model(x, t, labels)
    require(
        output.shape == x0.shape,
        f"denoising_loss needs a model that keeps the shape, got {output.shape} for {x0.shape}; check its last layer",
    )
    error = (output - target(x0, eps, t, schedule, predict)) ** 2
    return jnp.mean(error if weight is None else per_sample(weight(t), x0) * error)


def hyvarinen_loss(score, x):
    r"""Score matching without the score, $\mathbb E\bigl[\operatorname{div} s(x) + \tfrac12 |s(x)|^2\bigr]$.

    It differs from $\tfrac12 \mathbb E |s - \nabla\log p|^2$ by a constant, and its least value is
    $-\tfrac12 \mathbb E |\nabla\log p|^2$. The divergence is exact, by d forward derivatives: for few dimensions.

    Args:
      score: function of samples (n, d) that returns (n, d) and treats each row by itself.
      x: samples, shape (n, d).
    Returns: a scalar, unbounded below as a function of the score: on finitely many samples steep enough networks
      drive it to minus infinity.
    Raises: ValueError: for x of another shape or a score that changes the shape.
    References: Hyvarinen 2005. Derived in chapter 7.

    >>> x = jax.random.normal(jax.random.key(0), (10_000, 1))
    >>> round(float(hyvarinen_loss(lambda x: -x, x)), 1)  # -1/2 E|x|^2
    -0.5
    """
    x = _rows(x, "hyvarinen_loss")
    value, along = jax.linearize(_kept(score, "hyvarinen_loss"), x)
    units = jnp.eye(x.shape[1], dtype=x.dtype)
    columns = jax.vmap(lambda e: along(jnp.broadcast_to(e, x.shape)) @ e)(units)  # (d, n)
    return jnp.mean(jnp.sum(columns, axis=0) + 0.5 * jnp.sum(value**2, axis=-1))


def sliced_loss(score, x, *, key):
    r"""Hyvarinen's loss with the divergence read off along one random direction a sample,
    $\mathbb E\bigl[v^\top \nabla s(x)\, v + \tfrac12 |s(x)|^2\bigr]$, $v_i = \pm 1$.

    Its mean over v is `hyvarinen_loss`; its cost does not grow with d. A Jacobian J adds the variance
    $\sum_{i \ne j} J_{ij} (J_{ij} + J_{ji})$ to each sample: none where J is diagonal, hence none in one dimension.

    Args:
      score, x: as in `hyvarinen_loss`.  key: typed random key, for the directions.
    Returns: a scalar.
    Raises: ValueError: for x of another shape or a score that changes the shape.
    References: Song, Garg, Shi & Ermon 2019 (sliced score matching), the form with reduced variance; Hutchinson 1990.

    >>> x = jax.random.normal(jax.random.key(0), (1000, 1))
    >>> same = sliced_loss(lambda x: -x, x, key=jax.random.key(1)) - hyvarinen_loss(lambda x: -x, x)
    >>> abs(float(same)) < 1e-6
    True
    """
    check_key(key, "sliced_loss")
    x = _rows(x, "sliced_loss")
    v = jax.random.rademacher(key, x.shape, x.dtype)
    value, change = jax.jvp(_kept(score, "sliced_loss"), (x,), (v,))
    return jnp.mean(jnp.sum(v * change, axis=-1) + 0.5 * jnp.sum(value**2, axis=-1))


def _rows(x, where):
    x = require_floating(x, "x", where)
    require(
        x.ndim == 2 and x.size > 0,
        f"{where} needs samples of shape (n, d), got {x.shape}; flatten images with x.reshape(len(x), -1)",
    )
    return x


def _kept(score, where):
    def kept(x):
        value = score(x)
        require(
            value.shape == x.shape,
            f"{where} needs a score that keeps the shape, got {value.shape} for {x.shape}; check its last layer",
        )
        return value

    return kept
