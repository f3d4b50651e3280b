"""The generator gives Salmon's words, its numbers are standard normal, and only (key, step, place) decides them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import stats

from diffbook.sde import noise

WORDS = (np.uint32(0x13198A2E), np.uint32(0x03707344))


@pytest.mark.parametrize(
    "key, counter, expected",
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_known_answers_of_the_random123_library(key, counter, expected):
    words = noise.threefry2x32(tuple(map(jnp.uint32, key)), tuple(map(jnp.uint32, counter)))
    assert tuple(map(int, words)) == expected


def test_threefry_is_the_generator_beneath_jax():
    counters = np.random.default_rng(0).integers(2**32, size=(2, 1000), dtype=np.uint32)
    ours = noise.threefry2x32(tuple(map(jnp.uint32, WORDS)), tuple(map(jnp.asarray, counters)))
    theirs = threefry_2x32(jnp.array(WORDS), jnp.asarray(counters.reshape(-1)))
    np.testing.assert_array_equal(np.concatenate(ours), theirs)


def test_places_are_counted_in_the_order_of_the_array():
    np.testing.assert_array_equal(noise.places((2, 3, 4)), np.arange(24, dtype=np.uint32).reshape(2, 3, 4))
    assert noise.places(()).shape == ()


def draw(num_steps, shape, dtype=jnp.float32):
    steps = jnp.arange(num_steps, dtype=jnp.uint32)
    return np.asarray(jax.jit(jax.vmap(lambda k: noise.normal(WORDS, k, shape, dtype)))(steps))


def test_numbers_are_standard_normal():
    z = draw(8, (250_000,)).astype(float).ravel()
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10395 - 225)):
        assert abs(np.mean(z**power) - moment) < 4 * np.sqrt(variance / z.size), power
    assert stats.kstest(z, "norm").pvalue > 1e-3
    for bound in (3.0, 4.0, 4.5):  # jax.random's own 23 bits end at 5.4
        expected = z.size * 2 * stats.norm.sf(bound)
        assert abs(np.sum(np.abs(z) > bound) - expected) < 4 * np.sqrt(expected), bound


def test_steps_and_places_are_uncorrelated():
    z = draw(64, (4096,)).astype(float)
    for one, other in ((z[1:], z[:-1]), (z[:, 1:], z[:, :-1]), (z[1:, 1:], z[:-1, :-1])):
        for f in (lambda v: v, lambda v: (v**2 - 1) / np.sqrt(2)):
            assert abs(np.mean(f(one) * f(other))) < 4 / np.sqrt(one.size)


def test_ends_of_the_uniform_words_stay_finite():
    words = (jnp.array([0, 0, 2**32 - 1, 2**32 - 1], jnp.uint32), jnp.array([2**31, 2**31 - 1] * 2, jnp.uint32))
    for dtype, enable in ((jnp.float32, False), (jnp.float64, True)):
        with jax.enable_x64(enable):
            z = noise._from_words(words, dtype)
            assert z.dtype == dtype
            largest = np.sqrt(2 * 32 * np.log(2))
            np.testing.assert_allclose(z, [-largest, largest, 0, 0], rtol=1e-6, atol=1e-4)


def test_float64_refines_float32():
    z32 = draw(4, (1000,))
    with jax.enable_x64(True):
        z64 = draw(4, (1000,), jnp.float64)
    assert z64.dtype == np.float64
    np.testing.assert_allclose(z32, z64, atol=4e-6)


def test_polynomial_is_the_sine():
    with jax.enable_x64(True):
        for dtype, atol in ((jnp.float32, 3e-7), (jnp.float64, 1e-15)):
            v = jnp.linspace(-1, 1, 10_001, dtype=dtype)
            np.testing.assert_allclose(
                noise._sin_quarter(v), np.sin(np.pi / 2 * np.asarray(v, float)), rtol=0, atol=atol
            )


def test_keys_of_every_generator_and_no_others():
    for generator in ("threefry2x32", "rbg"):
        words = [noise.words_of(jax.random.key(seed, impl=generator)) for seed in (0, 1)]
        assert len({tuple(map(int, pair)) for pair in words}) == 2
    with pytest.raises(ValueError, match=r"simulate needs a typed random key, got key=0; pass key=jax.random.key"):
        noise.check_draw(0, (3,), "simulate")
    with pytest.raises(ValueError, match=r"2\*\*32 numbers a step, got shape \(65536, 65536\); split"):
        noise.check_draw(jax.random.key(0), (65536, 65536), "simulate")
