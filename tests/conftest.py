"""Strict JAX for every test: no silent broadcasting, eight virtual devices, shapes and types enforced."""

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook("diffbook", "beartype.beartype")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for groups
def pytest_collection_modifyitems(items):
    """Files with long tests first: the short ones then fill the gaps between two workers. A file stays with one worker,
    for what it compiles; in it, a page and a notebook are files of their own."""
    long = {item.path for item in items if item.get_closest_marker("long") or item.get_closest_marker("site")}
    items.sort(key=lambda item: item.path not in long)
    for item in items:
        name = item.callspec.params.get("name", "") if hasattr(item, "callspec") and item.path in long else ""
        item.add_marker(pytest.mark.xdist_group(f"{item.path.name} {name}"))
