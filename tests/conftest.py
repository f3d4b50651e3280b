"""Strict JAX for every test: no silent broadcasting, eight virtual devices, shapes and types enforced."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook("diffbook", "beartype.beartype")


def pytest_collection_modifyitems(items):
    """Long files first, the notebooks among them: the short ones then fill the gaps between two workers."""

    def short(item):
        return not (item.get_closest_marker("long") or item.get_closest_marker("site") or item.path.suffix == ".ipynb")

    items.sort(key=short)
