"""The loop that samples: it takes the steps, draws their noise, and runs under jit and on other platforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from diffbook.generative import clip_eps, ddim_step, ddpm_betas, ddpm_step, sample


def predict(x, k):
    return 0.1 * x + 0.001 * k.astype(x.dtype)


BETAS = ddpm_betas(20, 1e-3, 0.1)


def ancestral(x, k, k_next, eps, z):
    return ddpm_step(x, k, eps, BETAS, z)


def test_loop_takes_the_steps_in_order():
    x = jax.random.normal(jax.random.key(0), (3, 2))

    def deterministic(x, k, k_next, eps, z):
        return ddim_step(x, k, k_next, eps, BETAS)

    ks = [20, 13, 7, 6, 0]
    path = sample(predict, x, ks, deterministic, key=jax.random.key(1), save="path")
    by_hand = [x]
    for k, k_next in zip(ks, ks[1:], strict=False):
        by_hand.append(ddim_step(by_hand[-1], k, k_next, predict(by_hand[-1], jnp.asarray(k)), BETAS))
    np.testing.assert_allclose(path, jnp.stack(by_hand), rtol=1e-5, atol=1e-6)
    last = sample(predict, x, ks, deterministic, key=jax.random.key(1))
    np.testing.assert_allclose(last, path[-1], rtol=1e-6, atol=1e-6)


@pytest.mark.bits
def test_loop_hands_out_standard_normal_noise_and_one_key_gives_one_path():
    def only_noise(x, k, k_next, eps, z):
        return z

    ks = [20, 10, 9, 0]  # unequal steps
    zs = sample(predict, jnp.zeros(100_000), ks, only_noise, key=jax.random.key(0), save="path")[1:]
    n = zs.shape[1]
    assert float(jnp.abs(zs.mean(1)).max()) < 4 / np.sqrt(n)
    assert float(jnp.abs(zs.var(1) - 1).max()) < 4 * np.sqrt(2 / n)
    again = sample(predict, jnp.zeros(100_000), ks, only_noise, key=jax.random.key(0))
    assert jnp.array_equal(again, zs[-1])
    assert not jnp.array_equal(sample(predict, jnp.zeros(100_000), ks, only_noise, key=jax.random.key(1)), again)


def test_loop_in_stretches_and_under_jit():
    """Progress bars cut the way into stretches; the chain is Markov, so that the law is the same."""
    x, ks = jax.random.normal(jax.random.key(0), (4, 8, 8, 1)), np.arange(20, -1, -1)
    halfway = sample(predict, x, ks[:11], ancestral, key=jax.random.key(1))
    out = sample(predict, halfway, ks[10:], ancestral, key=jax.random.key(2))
    assert out.shape == x.shape and out.dtype == x.dtype
    jitted = jax.jit(lambda x, key: sample(predict, x, ks, ancestral, key=key))
    np.testing.assert_allclose(
        jitted(x, jax.random.key(3)), sample(predict, x, ks, ancestral, key=jax.random.key(3)), rtol=1e-5, atol=1e-6
    )


def test_k_per_sample():
    x = jax.random.normal(jax.random.key(0), (3, 4))
    ks = jnp.array([20, 7, 1])
    together = ddpm_step(x, ks, x, BETAS, x)
    for i, k in enumerate((20, 7, 1)):
        np.testing.assert_allclose(
            together[i : i + 1], ddpm_step(*(x[i : i + 1], k, x[i : i + 1], BETAS, x[i : i + 1]))
        )


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(platform):
    def f(x, key):
        return sample(predict, x, np.arange(20, -1, -1), ancestral, key=key)

    def g(x, k):
        eps = clip_eps(x, k, x, BETAS)
        return ddim_step(ddpm_step(x, k, eps, BETAS, x, variance="posterior"), k, k - 1, eps, BETAS)

    key, x = jax.random.key(0), jax.ShapeDtypeStruct((4, 8), jnp.float32)
    assert export.export(jax.jit(f), platforms=[platform])(x, jax.ShapeDtypeStruct(key.shape, key.dtype))
    assert export.export(jax.jit(g), platforms=[platform])(x, jax.ShapeDtypeStruct((), jnp.int32))


@pytest.mark.parametrize("ks", [[3, 3, 0], [3], [1.5, 0.5], [1, 2]])
def test_bad_input(ks):
    with pytest.raises(ValueError, match="falling integers"):
        sample(predict, jnp.ones((2, 3)), ks, ancestral, key=jax.random.key(0))
