"""Bad input: what is refused, in which words, and what passes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffbook import _checks as checks


def test_static_values_are_seen_and_traced_ones_are_not():
    seen = []

    @jax.jit
    def look(x):
        seen.append((checks.is_static(x), checks.static_value([x, 1.0]), checks.static_float(x)))
        checks.require_positive(x, "x", "f")
        checks.require_nonnegative(x, "x", "f")
        checks.require_finite(x, "x", "f")
        return x

    assert np.isnan(look(np.nan)) and seen == [(False, None, None)]
    assert checks.static_float(np.float32(0.5)) == checks.static_float(jnp.float32(0.5)) == 0.5
    assert checks.static_float(3) == 3.0 and isinstance(checks.static_float(3), float)
    np.testing.assert_array_equal(checks.static_value((1, np.float32(0.5))), [1, 0.5])


def test_what_is_good_passes():
    checks.require(True, "never")
    checks.require_positive(np.array([1, 2]), "x", "f")
    checks.require_positive(jnp.bfloat16(1), "x", "f")
    checks.require_nonnegative(0, "x", "f")
    checks.require_finite(np.zeros((2, 0)), "x", "f")
    checks.require_finite(jnp.ones(3), "x", "f")
    checks.require_choice("a", ("a", "b"), "x", "f")
    checks.check_key(jax.random.key(0), "f")
    jax.jit(lambda key: checks.check_key(key, "f"))(jax.random.key(0))
    assert checks.require_floating([1.0, 2.0], "x", "f").dtype == jnp.float32
    assert checks.require_floating(np.ones(2, np.float16), "x", "f").dtype == jnp.float16
    assert checks.require_count(np.int64(3), "n", "f") == 3
    assert checks.require_count(0, "n", "f") == 0


refused = [
    (lambda: checks.require(False, "f needs a, got b; do c"), "f needs a, got b; do c"),
    (lambda: checks.static_float("a"), "one real number, got 'a'"),
    (lambda: checks.static_float([1.0, 2.0]), "one real number"),
    (lambda: checks.static_float(1j), "one real number"),
    (
        lambda: checks.require_floating(np.arange(3), "x", "f"),
        "f needs real floating-point numbers, got x of dtype int",
    ),
    (lambda: checks.require_floating(np.ones(3) * 1j, "x", "f"), "pass its real and imaginary parts"),
    (lambda: checks.require_finite(np.array([1, np.nan, np.inf]), "x", "f"), "x with 2 of 3 entries NaN or infinite"),
    (lambda: checks.require_finite(jnp.array([1, jnp.nan]), "x", "f"), "jnp.argwhere(~jnp.isfinite(x))"),
    (lambda: checks.require_positive(0, "x", "f"), "f needs x > 0, got x=0; pass a finite number above zero"),
    (lambda: checks.require_positive(np.nan, "x", "f"), "x > 0, got x=nan"),
    (lambda: checks.require_positive(np.inf, "x", "f"), "x > 0, got x=inf"),
    (lambda: checks.require_positive(np.array([1.0, -1.0]), "x", "f"), "got x=[ 1. -1.]"),
    (lambda: checks.require_positive(1j, "x", "f"), "x to be real"),
    (lambda: checks.require_nonnegative(-1e-9, "x", "f", "turn it round"), "x >= 0, got x=-1e-09; turn it round"),
    (lambda: checks.require_count(1.0, "n", "f"), "n to be an integer, got n=1.0; pass int(n)"),
    (lambda: checks.require_count(True, "n", "f"), "n to be an integer"),
    (lambda: checks.require_count(0, "n", "f", least=1), "f needs n >= 1, got n=0; pass 1 or more"),
    (lambda: jax.jit(lambda n: checks.require_count(n, "n", "f"))(3), "static_argnames"),
    (lambda: checks.require_choice("c", ("a", "b"), "x", "f"), "x to be one of 'a', 'b', got x='c'"),
    (lambda: checks.check_key(0, "f"), "f needs a typed random key, got key=0; pass key=jax.random.key(0)"),
    (lambda: checks.check_key(jax.random.PRNGKey(0), "f"), "typed random key"),
    (lambda: checks.check_key(None, "f"), "typed random key"),
    (lambda: checks.check_key(jax.random.split(jax.random.key(0)), "f"), "keys of shape (2,); pass one of them"),
]


@pytest.mark.parametrize("call, message", refused, ids=range(len(refused)))
def test_bad_input_is_refused_with_rule_value_and_remedy(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_an_array_on_many_devices_is_looked_at_where_it_lies():
    sharding = jax.NamedSharding(jax.make_mesh((8,), ("x",)), jax.P("x"))
    good, bad = np.ones(16, np.float32), np.where(np.arange(16) == 5, np.nan, 1).astype(np.float32)
    checks.require_finite(jax.device_put(good, sharding), "x", "f")
    with pytest.raises(ValueError, match="1 of 16"):
        checks.require_finite(jax.device_put(bad, sharding), "x", "f")
    for values, answer in ((good, True), (bad, False)):  # the way taken off the CPU
        assert checks._finite_on_device(jax.device_put(values, sharding)) is answer


def test_a_constant_inside_jit_is_looked_at():
    constant = jnp.array([1.0, np.nan])

    def uses_constant(x):
        assert not checks._finite_on_device(constant)
        checks.require_finite(constant, "constant", "f")
        return x

    with pytest.raises(ValueError, match="constant with 1 of 2"):
        jax.jit(uses_constant)(1.0)
