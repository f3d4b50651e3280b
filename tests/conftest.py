"""Strict JAX for every test: no silent broadcasting, eight virtual devices, shapes and types enforced."""

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook("diffbook", "beartype.beartype")


def pytest_collection_modifyitems(items):
    """Long tests first: the short ones then fill the gaps between two workers. A file stays with one worker, for what
    it compiles; a page and a notebook are files of their own."""

    def short(item):
        return not (item.get_closest_marker("long") or item.get_closest_marker("site"))

    items.sort(key=short)
    for item in items:
        what = item.callspec.params.get("name", "") if hasattr(item, "callspec") and not short(item) else ""
        item.add_marker(pytest.mark.xdist_group(f"{item.path.name} {what} {short(item)}"))
