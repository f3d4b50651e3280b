"""Bad input, refused in one voice: *rule, value, remedy*.

Only what is a fact before tracing can be refused. Every helper here passes silently over a traced value (inside
`jit`, `vmap` or `grad`) and over an array that other processes hold parts of; what happens then is said in the
docstring of the function that calls it.
"""

import operator

import jax
import jax.numpy as jnp
import numpy as np


def require(condition, message):
    """Raise `ValueError(message)` unless `condition` holds. The message states rule, value and remedy."""
    if not condition:
        raise ValueError(message)


def is_static(x):
    """Whether the numbers in `x` (an array, a number or a tree of them) can be looked at now."""
    leaves = jax.tree.leaves(x)
    return all(not isinstance(leaf, jax.core.Tracer) and getattr(leaf, "is_fully_addressable", True) for leaf in leaves)


def static_value(x):
    """`x` as a NumPy array, or None where it is traced. Reads the array from its device: keep to parameters."""
    return np.asarray(jax.tree.map(np.asarray, x)) if is_static(x) else None


def _is_real(dtype):
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)  # jnp's test knows bfloat16


def static_float(x):
    """`x` as a Python float, or None where it is traced; `ValueError` if it is not one real number."""
    value = static_value(x)
    if value is None:
        return None
    require(value.size == 1 and _is_real(value.dtype), f"a parameter needs one real number, got {x!r}; pass a float")
    return float(value.reshape(()))


def require_floating(x, name, where):
    """`x` as a JAX array of real floating-point numbers: these functions return the dtype they are given."""
    x = jnp.asarray(x)
    require(
        jnp.issubdtype(x.dtype, jnp.floating),
        f"{where} needs real floating-point numbers, got {name} of dtype {x.dtype}; "
        + (
            "pass its real and imaginary parts one after the other"
            if jnp.issubdtype(x.dtype, jnp.complexfloating)
            else f"pass {name}.astype(float)"
        ),
    )
    return x


def require_finite(x, name, where):
    """Refuse NaN and infinity in the array `x`."""
    if not is_static(x):
        return
    # On the CPU NumPy looks at the same memory; elsewhere the device looks, and one answer travels.
    on_cpu = not isinstance(x, jax.Array) or all(device.platform == "cpu" for device in x.devices())
    if np.isfinite(np.asarray(x)).all() if on_cpu else _finite_on_device(x):
        return
    bad = int(np.sum(~np.isfinite(np.asarray(x))))
    require(
        False,
        f"{where} needs finite numbers, got {name} with {bad} of {np.size(x)} entries NaN or infinite; "
        f"look for the first with jnp.argwhere(~jnp.isfinite({name}))",
    )


def _finite_on_device(x):
    with jax.ensure_compile_time_eval():  # a constant inside someone's jit can be looked at too
        return bool(jnp.all(jnp.isfinite(x)))


def _require_each(x, holds, rule, name, where, remedy):
    value = static_value(x)
    if value is None:
        return
    require(_is_real(value.dtype), f"{where} needs {name} to be real, got {name}={x!r}; pass a float")
    with np.errstate(invalid="ignore"):
        require(bool(np.all(holds(value))), f"{where} needs {name} {rule}, got {name}={x}; {remedy}")


def require_positive(x, name, where, remedy="pass a finite number above zero"):
    """Refuse a parameter (a number or an array) that is not finite and > 0."""
    _require_each(x, lambda v: np.isfinite(v) & (v > 0), "> 0", name, where, remedy)


def require_nonnegative(x, name, where, remedy="pass a finite number, zero or above"):
    """Refuse a parameter (a number or an array) that is not finite and >= 0."""
    _require_each(x, lambda v: np.isfinite(v) & (v >= 0), ">= 0", name, where, remedy)


def require_count(n, name, where, least=0):
    """`n` as a Python int of at least `least`. It fixes a shape or a loop, so it must be known before tracing."""
    require(
        not isinstance(n, jax.core.Tracer),
        f"{where} needs {name} before tracing, got a traced value; name it in jax.jit's static_argnames",
    )
    try:
        count = None if isinstance(n, bool | np.bool_) else operator.index(n)
    except TypeError:
        count = None
    require(count is not None, f"{where} needs {name} to be an integer, got {name}={n!r}; pass int({name})")
    require(count >= least, f"{where} needs {name} >= {least}, got {name}={count}; pass {least} or more")
    return count


def require_choice(value, choices, name, where):
    """Refuse an option that is not among `choices`."""
    listed = ", ".join(repr(choice) for choice in choices)
    require(value in choices, f"{where} needs {name} to be one of {listed}, got {name}={value!r}; choose one of them")


def check_key(key, where):
    """Refuse what is not one typed random key."""
    dtype = getattr(key, "dtype", None)
    require(
        dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key),
        f"{where} needs a typed random key, got key={key!r}; pass key=jax.random.key(0)",
    )
    require(
        key.shape == (),
        f"{where} needs one key, got an array of keys of shape {key.shape}; pass one of them, or map over them with "
        "jax.vmap",
    )
