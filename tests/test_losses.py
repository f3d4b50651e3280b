"""The denoising loss against its floor: data with a known optimal denoiser leave a known error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from diffbook.generative import TARGETS, GaussianMixture, denoising_loss, perturb, straight, vp_linear
from diffbook.generative.losses import hyvarinen_loss, sliced_loss
from diffbook.generative.targets import target

S = 0.6  # standard deviation of the data, whose mean is 0.3
T_MIN, T_MAX = 0.1, 0.9


def conditional_variance(schedule, predict, t):
    """Var[y | x_t] for x0 ~ N(0.3, S^2). y = a x0 + b eps and x = alpha x0 + sigma eps are jointly Gaussian."""
    a = target(jnp.ones((1, 1)), jnp.zeros((1, 1)), t, schedule, predict)[0, 0]
    b = target(jnp.zeros((1, 1)), jnp.ones((1, 1)), t, schedule, predict)[0, 0]
    alpha, sigma = schedule.alpha(t), jnp.sqrt(schedule.var(t))
    return (a * sigma - b * alpha) ** 2 * S**2 / (alpha**2 * S**2 + sigma**2)


def optimum(schedule, predict):
    """E[y | x_t], exactly."""

    def model(x, t):
        def one(x, t):
            a = target(jnp.ones((1, 1)), jnp.zeros((1, 1)), t, schedule, predict)[0, 0]
            b = target(jnp.zeros((1, 1)), jnp.ones((1, 1)), t, schedule, predict)[0, 0]
            alpha, var = schedule.alpha(t), schedule.var(t)
            gain = (a * alpha * S**2 + b * jnp.sqrt(var)) / (alpha**2 * S**2 + var)
            return 0.3 * a + gain * (x - 0.3 * alpha)

        return jax.vmap(one)(x, t)

    return model


KINDS = [(schedule, predict) for schedule in (vp_linear(), straight()) for predict in TARGETS]


@pytest.mark.parametrize("schedule, predict", KINDS)
def test_the_optimal_denoiser_meets_the_floor_and_no_other_does(schedule, predict):
    with jax.enable_x64(True):
        n = 40_000
        best = optimum(schedule, predict)
        nodes, weights = np.polynomial.legendre.leggauss(40)

        @jax.jit
        def everything(keys):
            def loss(wrong_and_key):
                wrong, (data_key, key) = wrong_and_key[0], jax.random.split(wrong_and_key[1])
                x0 = 0.3 + S * jax.random.normal(data_key, (n, 1), jnp.float64)
                return denoising_loss(
                    lambda x, t: best(x, t) + wrong, x0, schedule, key=key, predict=predict, t_min=T_MIN, t_max=T_MAX
                )

            times = T_MIN + (T_MAX - T_MIN) * (nodes + 1) / 2
            variances = jax.vmap(lambda t: conditional_variance(schedule, predict, t))(times)
            return variances, jax.lax.map(loss, (jnp.zeros(21).at[20].set(0.1), keys))

        keys = jax.random.split(jax.random.key(1), 20)
        variances, values = everything(jnp.concatenate([keys, keys[:1]]))
        floor, (values, off) = float(weights @ np.asarray(variances)) / 2, np.split(np.asarray(values), [20])
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean() - floor) < 4 * error
        # an error of the denoiser adds its square, whatever the noise
        assert off[0] - values[0] == pytest.approx(0.01, abs=4 * 0.2 * np.sqrt(floor / n) + 1e-9)


def test_mixture_score_meets_its_floor():
    """For a mixture the least error of "score" is E|grad log p(x_t | x0)|^2 - E|score|^2, both by Monte Carlo."""
    data = GaussianMixture(jnp.array([0.3, 0.7]), jnp.array([[-1.0, 0.5], [1.0, 0.0]]), jnp.array([0.2, 0.4]))
    schedule, n, t = vp_linear(), 100_000, 0.4
    x0 = data.sample(jax.random.key(0), n)
    noisy = data.diffused(schedule, t)
    times = jnp.full(n, t)
    value = denoising_loss(lambda x, t: noisy.score(x), x0, schedule, key=jax.random.key(1), predict="score", t=times)
    fisher = jnp.mean(noisy.score(noisy.sample(jax.random.key(2), n)) ** 2, axis=-1)
    floor = 1 / float(schedule.var(t)) - float(fisher.mean())
    standard_error = float(jnp.sqrt(fisher.var() / n)) + float(value) * np.sqrt(2 / (2 * n))
    assert abs(float(value) - floor) < 4 * standard_error


def test_times_cover_the_range_evenly_and_may_be_given():
    seen = []

    def model(x, t):
        seen.append(t)
        return x

    x0 = jnp.ones((1000, 2))
    denoising_loss(model, x0, vp_linear(), key=jax.random.key(0), t_min=0.2, t_max=0.7)
    t = np.asarray(seen[0], np.float64)
    place = (t - 0.2) / 0.5 * 1000 - np.arange(1000)  # within interval i of a thousand, to float32's rounding
    assert np.all((place > -1e-3) & (place < 1 + 1e-3)) and 0.2 < np.std(place) < 0.4
    denoising_loss(model, x0, vp_linear(), key=jax.random.key(0), t=jnp.arange(1000) / 1000)
    assert np.array_equal(seen[1], jnp.arange(1000) / 1000)


def test_labels_reach_the_model_and_images_keep_their_shape():
    x0, labels = jnp.ones((6, 8, 8, 1)), jnp.arange(6)

    def model(x, t, label):
        assert x.shape == (6, 8, 8, 1) and t.shape == (6,)
        return x * label.reshape(6, 1, 1, 1)

    assert jnp.isfinite(denoising_loss(model, x0, vp_linear(), key=jax.random.key(0), labels=labels, predict="v"))


def test_weight_weighs_and_batches_average():
    """By hand, with the same noise: mean over samples of w(t) times the mean over entries."""
    x0 = jax.random.normal(jax.random.key(3), (4, 5))
    t = jnp.array([0.1, 0.2, 0.5, 0.9])
    key = jax.random.key(4)
    eps = []
    denoising_loss(lambda x, t: eps.append(x) or x, jnp.zeros_like(x0), vp_linear(), key=key, t=t)
    noise = eps[0] / jnp.sqrt(vp_linear().var(t))[:, None]
    x = perturb(x0, t, noise, vp_linear())
    by_hand = jnp.mean(t**2 * jnp.mean((0.5 * x - noise) ** 2, axis=1))
    got = denoising_loss(lambda x, t: 0.5 * x, x0, vp_linear(), key=key, t=t, weight=lambda t: t**2)
    assert float(got) == pytest.approx(float(by_hand), rel=1e-5)


def test_gradient_is_finite_and_right_in_sign():
    x0 = jax.random.normal(jax.random.key(0), (512, 3))
    loss = jax.jit(lambda a: denoising_loss(lambda x, t: a * x, x0, vp_linear(), key=jax.random.key(1)))
    # data are N(0, 1) and so is x_t: the optimal coefficient at time t is sigma(t), and 0 and 1 lie on its two sides
    assert float(jax.grad(loss)(0.0)) < 0 < float(jax.grad(loss)(1.0))


def test_exports():
    def f(x0, key):
        return jax.grad(lambda a: denoising_loss(lambda x, t: a * x, x0, vp_linear(), key=key, predict="v"))(0.5)

    key = jax.random.key(0)
    shapes = jax.ShapeDtypeStruct((4, 8), jnp.float32), jax.ShapeDtypeStruct(key.shape, key.dtype)
    assert export.export(jax.jit(f), platforms=["cuda", "tpu"])(*shapes).platforms == ("cuda", "tpu")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"predict": "noise"}, "predict to be one of 'eps', 'x0', 'v', 'score', 'velocity', got predict='noise'"),
        ({"t_min": 0.5, "t_max": 0.4}, "t_min < t_max"),
        ({"t_max": 1.5}, "t_max <= 1"),
        ({"key": 0}, "typed random key"),
        ({"model": lambda x, t: x[:, :1]}, "keeps the shape"),
        ({"x0": jnp.ones((4, 2), int)}, "floating"),
        ({"t": jnp.ones(3)}, "one entry per sample"),
    ],
)
def test_bad_input(change, message):
    given = {
        "model": lambda x, t: x,
        "x0": jnp.ones((4, 2)),
        "schedule": vp_linear(),
        "key": jax.random.key(0),
    } | change
    with pytest.raises(ValueError, match=message):
        denoising_loss(given.pop("model"), given.pop("x0"), given.pop("schedule"), **given)


def bent(x):
    """A score with a full Jacobian that is not symmetric."""
    a, b, c = x[..., 0], x[..., 1], x[..., 2]
    return jnp.stack([a * b, jnp.sin(a) + c**2, a * c - b], axis=-1)


def test_hyvarinen_is_the_trace_of_the_jacobian():
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (50, 3), jnp.float64)

        @jax.jit
        def both(x):
            divergence = jnp.trace(jax.vmap(jax.jacrev(bent))(x), axis1=1, axis2=2)
            return hyvarinen_loss(bent, x), jnp.mean(divergence + 0.5 * jnp.sum(bent(x) ** 2, axis=1))

        packaged, by_hand = both(x)
        assert float(packaged) == pytest.approx(float(by_hand), rel=1e-13)


def test_hyvarinen_meets_its_floor_and_lies_above_it_by_the_distance():
    """J(s) = E|s - score|^2 / 2 - E|score|^2 / 2, with data that are a quadrature rule for the Gaussian."""
    with jax.enable_x64(True):
        nodes, weights = np.polynomial.hermite_e.hermegauss(20)
        x = jnp.asarray(nodes)[:, None]
        w = jnp.asarray(weights / weights.sum())

        def weighted(s):  # the loss of one node at a time
            return float(w @ jax.jit(jax.vmap(lambda row: hyvarinen_loss(s, row[None])))(x))

        assert weighted(lambda y: -y) == pytest.approx(-0.5, rel=1e-12)
        wrong = float(w @ ((0.3 * x**2 + 1 + x)[:, 0] ** 2)) / 2
        assert weighted(lambda y: 0.3 * y**2 + 1) == pytest.approx(wrong - 0.5, rel=1e-12)


def test_sliced_averages_to_hyvarinen_with_the_stated_variance():
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (40, 3), jnp.float64)
        keys = jax.random.split(jax.random.key(1), 20_000)
        values = np.asarray(jax.jit(jax.vmap(lambda key: sliced_loss(bent, x, key=key)))(keys))
        J = np.asarray(jax.jit(jax.vmap(jax.jacfwd(bent)))(x))
        off = J * (1 - np.eye(3))
        variance = np.sum(off * (off + off.transpose(0, 2, 1))) / len(x) ** 2
        assert abs(values.mean() - float(hyvarinen_loss(bent, x))) < 4 * np.sqrt(variance / len(keys))
        assert values.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / len(keys)))


def test_sliced_is_exact_where_the_jacobian_is_diagonal():
    x = jax.random.normal(jax.random.key(0), (40, 3))
    gap = sliced_loss(jnp.sin, x, key=jax.random.key(1)) - hyvarinen_loss(jnp.sin, x)
    assert abs(float(gap)) < 1e-6


def test_score_matching_finds_the_inverse_covariance():
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(2), (200, 2), jnp.float64) @ jnp.array([[1.0, 0.4], [0.0, 0.5]])
        P = jnp.linalg.inv(x.T @ x / len(x))
        slope = jax.jit(jax.grad(lambda P: hyvarinen_loss(lambda y: -y @ P.T, x)))(P)
        np.testing.assert_allclose(slope, jnp.zeros((2, 2)), atol=1e-12)


def test_score_matching_exports():
    def f(x, key):
        return jax.grad(lambda a: hyvarinen_loss(lambda y: a * y, x) + sliced_loss(lambda y: a * y, x, key=key))(0.5)

    key = jax.random.key(0)
    shapes = jax.ShapeDtypeStruct((4, 8), jnp.float32), jax.ShapeDtypeStruct(key.shape, key.dtype)
    assert export.export(jax.jit(f), platforms=["cuda", "tpu"])(*shapes).platforms == ("cuda", "tpu")


@pytest.mark.parametrize("loss", [hyvarinen_loss, lambda s, x: sliced_loss(s, x, key=jax.random.key(0))])
@pytest.mark.parametrize(
    "score, x, message",
    [
        (lambda x: x, jnp.ones(3), "needs samples of shape"),
        (lambda x: x, jnp.ones((0, 3)), "needs samples of shape"),
        (lambda x: x, jnp.ones((2, 3), int), "floating"),
        (lambda x: x[:, :1], jnp.ones((2, 3)), "keeps the shape"),
    ],
)
def test_score_matching_bad_input(loss, score, x, message):
    with pytest.raises(ValueError, match=message):
        loss(score, x)
    with pytest.raises(ValueError, match="typed random key"):
        sliced_loss(jnp.sin, x, key=0)
