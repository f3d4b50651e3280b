"""The deterministic law: fields that spread, and how to compute them."""

from diffbook.pde import advection, heat, radiation, telegraph, transport

__all__ = ["advection", "heat", "radiation", "telegraph", "transport"]
