"""Losses whose minimum is a denoiser."""

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
      t_min, t_max: range of the times. Some targets are infinite at t = 0 (score) or t = 1 (none of the five).
      weight: function w(t); 1 if left out.
    Returns: a scalar.
    Raises: ValueError: for an unknown `predict`, a bad range, or a model that changes the shape.
    References: Vincent 2011, eq. (9); Ho et al. 2020, eq. (14).

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
    eps = jax.random.normal(noise_key, x0.shape, x0.dtype)
    x = perturb(x0, t, eps, schedule)
    output = model(x, t) if labels is None else model(x, t, labels)
    require(
        output.shape == x0.shape,
        f"denoising_loss needs a model that keeps the shape, got {output.shape} for {x0.shape}; check its last layer",
    )
    error = (output - target(x0, eps, t, schedule, predict)) ** 2
    return jnp.mean(error if weight is None else per_sample(weight(t), x0) * error)
