"""The deterministic law: fields that spread, and how to compute them."""

from diffbook.pde import fokker_planck, heat, telegraph

__all__ = ["fokker_planck", "heat", "telegraph"]
