"""Strict JAX for every test: no silent broadcasting, eight virtual devices, shapes and types enforced."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook("diffbook", "beartype.beartype")
