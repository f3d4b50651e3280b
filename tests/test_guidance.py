"""Guidance: an affine push away from the prediction without a class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from diffbook.generative import sample_flow, straight, times_of_noise
from diffbook.generative.guidance import classifier_free, observed


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


def test_guidance_in_an_interval():
    some = classifier_free(model, LABELS, 2.0, no_class=10, interval=(0.25, 0.75))
    everywhere = classifier_free(model, LABELS, 2.0, no_class=10)
    run = jax.jit(lambda t: (some(X, t), everywhere(X, t), model(X, t, LABELS)))
    for t, inside in ((0.0, False), (0.25, True), (0.5, True), (0.75, True), (1.0, False)):
        got, pushed, plain = run(t)
        np.testing.assert_allclose(got, pushed if inside else plain, rtol=1e-6)
        assert not np.allclose(pushed, plain)


def test_outside_the_interval_the_model_is_asked_once():
    asked = jax.jit(classifier_free(model, LABELS, 2.0, no_class=10, interval=(0.25, 0.75))).lower(X, 0.5).as_text()
    assert asked.count("stablehlo.case") == 1  # one of two branches runs, not both


def test_bad_input():
    with pytest.raises(ValueError, match="swap"):
        classifier_free(model, LABELS, 1.0, no_class=10, interval=(0.5, 0.2))
    with pytest.raises(ValueError, match="one label per sample"):
        classifier_free(model, LABELS[:2], 1.0, no_class=10)(X, 0.5)


CORRELATION, VALUE, NOISE = 0.8, 1.2, 0.01


def test_observed_coordinate_of_a_gaussian_has_the_exact_posterior():
    """Two correlated numbers, the first observed: the flow from noise arrives at Bayes' mean and variance."""
    with jax.enable_x64(True):
        schedule, cov = straight(), jnp.array([[1.0, CORRELATION], [CORRELATION, 1.0]])

        def gain(t):
            alpha, var = schedule.alpha(t), schedule.var(t)
            return jnp.linalg.inv(alpha**2 * cov + var * jnp.eye(2))

        def eps(x, t):
            return jnp.sqrt(schedule.var(t)) * x @ gain(t)

        def spread(t):
            return (schedule.var(t) * cov @ gain(t))[0, 0]

        posterior = observed(eps, jnp.array([[VALUE]]), lambda x: x[:, :1], schedule, noise_var=NOISE, spread=spread)
        ts = times_of_noise(schedule, jnp.append(jnp.geomspace(300.0, 1e-3, 120), 0.0))
        start = jnp.sqrt(schedule.var(ts[0])) * jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        centre, *axes = sample_flow(posterior, start, ts, schedule)
        shape = jnp.stack(axes) - centre[None]  # the flow is affine: the law at its end has covariance shape^T shape
        bayes = cov[1:, :1] / (1 + NOISE)
        np.testing.assert_allclose(centre, [VALUE / (1 + NOISE), (bayes * VALUE)[0, 0]], atol=0.01)
        np.testing.assert_allclose((shape.T @ shape)[1, 1], 1 - (bayes * CORRELATION)[0, 0], atol=0.01)


def test_exports():
    def both(x, t, w):
        guided = classifier_free(model, LABELS, w, no_class=10, interval=(0.25, 0.75))
        seen = observed(lambda x, t: 0.5 * x, jnp.ones((3, 1)), lambda x: x[:, :1], straight(), noise_var=0.1)
        return guided(x, t), seen(x, t)

    args = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (X.shape, (), ()))
    assert export.export(jax.jit(both), platforms=["cuda", "tpu"])(*args).platforms == ("cuda", "tpu")


def test_observed_needs_noise():
    with pytest.raises(ValueError, match="noise_var > 0"):
        observed(lambda x, t: x, X, lambda x: x, straight(), noise_var=0.0)
