r"""Brownian increments as a pure function of (key, step, place): nothing is stored, any one can be had again.

`jax.random.normal` would do, but its loops pass over memory several times a step, and random numbers are the cost of an
SDE step. Written out like this, the compiler fuses the draw with the step that uses it, so that a path's state is read
and written once and its noise never leaves the registers. Since the noise of a path depends on its place in the array
alone, an array spread over many devices gets the numbers it would get on one.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from diffbook._checks import check_key, require

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry2x32(key, counter):
    """Two random 32-bit words from two key words and two counter words: Threefry-2x32 with 20 rounds.

    References: Salmon, Moraes, Dror & Shaw 2011. It is the generator beneath `jax.random`, unrolled.
    """
    keys = (*key, key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    a, b = counter[0] + keys[0], counter[1] + keys[1]
    for group in range(5):
        for bits in _ROTATIONS[group % 2]:
            a = a + b
            b = a ^ (b << np.uint32(bits) | b >> np.uint32(32 - bits))
        a = a + keys[(group + 1) % 3]
        b = b + keys[(group + 2) % 3] + np.uint32(group + 1)
    return a, b


def _sin_quarter(v):
    """sin(pi v / 2) on [-1, 1] by its Taylor series, to rounding: on CPU the compiler's sine would triple the cost."""
    total = jnp.zeros_like(v)
    for k in reversed(range(11 if v.dtype == jnp.float64 else 6)):
        total = total * (v * v) + (-1) ** k * (math.pi / 2) ** (2 * k + 1) / math.factorial(2 * k + 1)
    return total * v


def places(shape):
    """The running number of each entry of an array, as 32-bit words, whichever device holds it."""
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    places = (lax.broadcasted_iota(jnp.uint32, shape, axis) * np.uint32(s) for axis, s in enumerate(strides))
    return sum(places, start=jnp.zeros(shape, jnp.uint32))


def _from_words(words, dtype):
    u = (lax.bitcast_convert_type(words[0] >> np.uint32(1), jnp.int32).astype(dtype) + 0.5) * 2.0**-31
    v = lax.bitcast_convert_type(words[1], jnp.int32).astype(dtype) * 2.0**-31
    return jnp.sqrt(-2 * jnp.log(u)) * _sin_quarter(v)


def normal(words, step, shape, dtype):
    r"""Standard normal numbers of one step, $z = \sqrt{-2 \ln u}\,\sin(\pi v / 2)$, u uniform on (0, 1), v on (-1, 1).

    Box and Muller's pair is r cos and r sin of a uniform angle; the sine of an angle within a quarter turn either way
    has the law of both. The 31 bits of u reach |z| = 6.7.

    Args:
      words: two 32-bit words that stand for the key.  step: its number.  shape: of the result, with size < 2**32.
      dtype: float32 or float64.
    References: Box & Muller 1958.
    """
    counter = (places(shape), jnp.asarray(step, jnp.uint32))
    return _from_words(threefry2x32(words, counter), dtype)


def words_of(key):
    """The two words that stand for `key`, of whichever generator, in `normal`."""
    return tuple(jax.random.bits(key, (2,), jnp.uint32))


def check_draw(key, shape, where):
    """Refuse a bad key, and more numbers per step than one key can count the places of."""
    check_key(key, where)
    require(
        math.prod(shape) < 2**32,
        f"{where} needs fewer than 2**32 numbers a step, got shape {shape}; split the paths over several keys",
    )
