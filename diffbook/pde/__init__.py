"""The deterministic law: fields that spread, and how to compute them."""

from diffbook.pde import advection, fokker_planck, heat, radiation, telegraph, transport

__all__ = ["advection", "fokker_planck", "heat", "radiation", "telegraph", "transport"]
