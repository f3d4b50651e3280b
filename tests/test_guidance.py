"""Guidance: an affine push away from the prediction without a class."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffbook.generative.guidance import classifier_free


def model(x, t, label):
    model.sizes.append(len(x))
    return x * (1.0 + label.astype(x.dtype))[:, None] + t


model.sizes = []
X, LABELS = jnp.arange(6.0).reshape(3, 2), jnp.array([0, 4, 9])


def test_guided_prediction_is_the_extrapolation():
    guided = classifier_free(model, LABELS, 2.0, no_class=10)(X, 0.5)
    np.testing.assert_allclose(guided, 3 * model(X, 0.5, LABELS) - 2 * model(X, 0.5, jnp.full(3, 10)), rtol=1e-6)


def test_one_weight_per_sample():
    each = classifier_free(model, LABELS, jnp.array([0.0, 1.0, 3.0]), no_class=10)(X, 0.5)
    for i, w in enumerate((0.0, 1.0, 3.0)):
        np.testing.assert_allclose(each[i], classifier_free(model, LABELS, w, no_class=10)(X, 0.5)[i], rtol=1e-6)


def test_no_guidance_costs_no_second_half():
    model.sizes.clear()
    np.testing.assert_allclose(classifier_free(model, LABELS, 0.0, no_class=10)(X, 0.5), model(X, 0.5, LABELS))
    assert model.sizes == [3, 3]


def test_bad_input():
    with pytest.raises(ValueError, match="one label per sample"):
        classifier_free(model, LABELS[:2], 1.0, no_class=10)(X, 0.5)
