"""Strict JAX for every test: no silent broadcasting, eight virtual devices, shapes and types enforced.

Most of the time goes into compiling many small programs, so they are compiled without the slow optimisations: the
chapters run them with all. Tests that compare the roundings of two programs are marked `bits` and get what users get.
"""

import os
import tempfile

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook("diffbook", "beartype.beartype")

# What one worker or child process has compiled, the others take from there; gone with the run that made it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    COMPILED = tempfile.TemporaryDirectory(prefix="compiled-")
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": COMPILED.name,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_runtest_setup(item):
    quick = item.get_closest_marker("bits") is None
    if jax.config.read("jax_disable_most_optimizations") != quick:
        jax.config.update("jax_disable_most_optimizations", quick)
        jax.clear_caches()


def pytest_collection_modifyitems(items):
    """Files with long tests first: the short ones then fill the gaps between the workers. A file stays with one worker,
    for what it compiles."""
    long = {item.path for item in items if item.get_closest_marker("long") or item.get_closest_marker("site")}
    items.sort(key=lambda item: item.path not in long)
