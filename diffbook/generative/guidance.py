r"""Pushing samples towards a class, or towards an observation, by changing the score.

Guided, or conditioned, predictions go into the same samplers as any other: they are functions of (x, t).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffbook._checks import require


def classifier_free(model, labels, weight, *, no_class: int):
    r"""The prediction pushed away from what it would be without a class,
    $(1 + w)\,\text{model}(x, t, c) - w\,\text{model}(x, t, \varnothing)$.

    It is affine, so that it may be noise, clean sample, score or velocity alike. With w = 0 it is the plain conditional
    prediction. With w > 0 it is not the score of any noised law of data: see chapter 9.

    Args:
      model: called as model(x, t, label) with twice the samples.
      labels: shape (n,), integers.  weight: w, a number or one per sample, shape (n,).
      no_class: the label that stands for no class.
    Returns: function (x, t) -> like x, one call of the model on 2 n samples; of n if the weight is the number 0.
    Raises: ValueError: if the labels do not fit x.
    References: Ho & Salimans 2022, eq. (6).

    >>> model = lambda x, t, label: x * label[:, None]
    >>> classifier_free(model, jnp.array([2]), 1.5, no_class=0)(jnp.ones((1, 1)), 0.5).tolist()     # 2.5 * 2 - 1.5 * 0
    [[5.0]]
    """
    labels = jnp.asarray(labels)

    def predict(x, t) -> Float[Array, "..."]:
        require(
            labels.shape == x.shape[:1],
            f"classifier_free needs one label per sample, got {labels.shape} for samples {x.shape}; repeat the label",
        )
        if isinstance(weight, int | float) and weight == 0:
            return model(x, t, labels)
        both = model(jnp.concatenate([x, x]), t, jnp.concatenate([labels, jnp.full_like(labels, no_class)]))
        with_class, without = both[: len(x)], both[len(x) :]
        w = jnp.asarray(weight, x.dtype)
        w = w.reshape(w.shape + (1,) * (x.ndim - 1)) if w.ndim else w
        return with_class + w * (with_class - without)

    return predict
