r"""Pushing samples towards a class, or towards an observation, by changing the score.

Guided, or conditioned, predictions go into the same samplers as any other: they are functions of (x, t).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffbook._checks import require
from diffbook.generative.schedules import Schedule
from diffbook.generative.targets import convert, x0_and_eps


def classifier_free(model, labels, weight, *, no_class: int, interval: tuple[float, float] | None = None):
    r"""The prediction pushed away from what it would be without a class,
    $(1 + w)\,\text{model}(x, t, c) - w\,\text{model}(x, t, \varnothing)$.

    It is affine, so that it may be noise, clean sample, score or velocity alike. With w = 0 it is the plain conditional
    prediction. With w > 0 it is not the score of any noised law of data: see chapter 9.

    Args:
      model: called as model(x, t, label) with twice the samples.
      labels: shape (n,), integers.  weight: w, a number or one per sample, shape (n,).
      no_class: the label that stands for no class.
      interval: None, or the least and the greatest time at which to push. Elsewhere it is the plain prediction: at much
        noise pushing costs variety, and at little noise it does little.
    Returns: function (x, t) -> like x, one call of the model on 2 n samples; of n if the weight is the number 0, and
      where t is outside the interval. With an interval t must be a scalar.
    Raises: ValueError: if the labels do not fit x, or the interval is empty.
    References: Ho & Salimans 2022, eq. (6); Kynkaanniemi et al. 2024 (the interval).

    >>> model = lambda x, t, label: x * label[:, None]
    >>> classifier_free(model, jnp.array([2]), 1.5, no_class=0)(jnp.ones((1, 1)), 0.5).tolist()     # 2.5 * 2 - 1.5 * 0
    [[5.0]]
    """
    labels = jnp.asarray(labels)
    require(
        interval is None or interval[0] <= interval[1],
        f"classifier_free needs interval = (least, greatest) time, got {interval}; swap the two",
    )

    def predict(x, t) -> Float[Array, "..."]:
        require(
            labels.shape == x.shape[:1],
            f"classifier_free needs one label per sample, got {labels.shape} for samples {x.shape}; repeat the label",
        )
        if isinstance(weight, int | float) and weight == 0:
            return model(x, t, labels)
        if interval is None:
            return pushed(x, t)
        inside = (interval[0] <= t) & (t <= interval[1])
        return jax.lax.cond(inside, pushed, lambda x, t: model(x, t, labels), x, t)

    def pushed(x, t):
        both = model(jnp.concatenate([x, x]), t, jnp.concatenate([labels, jnp.full_like(labels, no_class)]))
        with_class, without = both[: len(x)], both[len(x) :]
        w = jnp.asarray(weight, x.dtype)
        w = w.reshape(w.shape + (1,) * (x.ndim - 1)) if w.ndim else w
        return with_class + w * (with_class - without)

    return predict


def observed(predict, y, operator, schedule: Schedule, *, noise_var, spread=None, kind="eps"):
    r"""The prediction for samples of which $y = A x_0 + \text{noise}$ is known, by Bayes' rule for scores,
    $\nabla\log p_t(x|y) \approx \nabla\log p_t(x) - \nabla_x\,|y - A\hat x_0(x, t)|^2 / 2(s^2 + r_t^2)$.

    It takes $A x_0$, given $x_t$, to be Gaussian about $A\hat x_0$ with variance $r_t^2$ in each entry and no
    correlations. That is exact for data $\mathcal N(m, C)$ if $A\,\mathrm{Cov}[x_0|x_t]\,A^T = r_t^2 I$; else it
    neglects correlations, and that x_0 given x_t may have several modes.

    Args:
      predict: predict(x, t) -> array like x, of `kind`; differentiable; samples must not influence one another.
      y: what was observed, like operator(x).  operator: A, a linear function of a batch, e.g. `lambda x: x * mask`.
      noise_var: s^2 > 0, variance of the observation's noise.
      spread: function of t, r_t^2; $\sigma^2/(\alpha^2 + \sigma^2)$, right for independent data of variance 1, if left
        out.
      kind: what `predict` predicts, one of `TARGETS`; the result is of the same kind. alpha(t) must not be 0.
    Returns: function (x, t) -> like x; one call of predict and one derivative of it.
    Raises: ValueError: if noise_var is not positive.
    References: Chung et al. 2023 (r = 0, other weights); Song, Vahdat, Mardani & Kautz 2023 (with the default spread).

    >>> from diffbook.generative.schedules import straight
    >>> eps = lambda x, t: t / ((1 - t) ** 2 + t**2) * x              # data N(0, 1)
    >>> known = observed(eps, jnp.full((1, 1), 2.0), lambda x: x, straight(), noise_var=1e-6)
    >>> x = jnp.full((1, 1), 0.7)
    >>> f"{(x - 0.5 * known(x, 0.5))[0, 0] / 0.5:.3f}"                # of x0 all is known
    '2.000'
    """
    require(noise_var > 0, f"observed needs noise_var > 0, got {noise_var=}; a small one means: almost exact")
    y = jnp.asarray(y)

    def conditioned(x, t) -> Float[Array, "..."]:
        alpha, var = (jnp.asarray(c, x.dtype) for c in (schedule.alpha(t), schedule.var(t)))
        width = var / (alpha**2 + var) if spread is None else spread(t)

        def mismatch(x):
            x0, eps = x0_and_eps(predict(x, t), x, t, schedule, kind)
            return jnp.sum((y - operator(x0)) ** 2) / (2 * (noise_var + width)), eps

        push, eps = jax.grad(mismatch, has_aux=True)(x)
        return convert(eps + jnp.sqrt(var) * push, x, t, schedule, source="eps", to=kind)

    return conditioned
