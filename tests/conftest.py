"""Strict JAX for every test: no silent broadcasting, eight virtual devices, shapes and types enforced."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook("diffbook", "beartype.beartype")


def pytest_collection_modifyitems(items):
    """Files with long tests first: the short ones then fill the gaps between the workers. A file stays with one worker,
    for what it compiles."""
    long = {item.path for item in items if item.get_closest_marker("long") or item.get_closest_marker("site")}
    items.sort(key=lambda item: item.path not in long)
