"""The deterministic law: fields that spread, and how to compute them."""

from diffbook.pde import heat, telegraph

__all__ = ["heat", "telegraph"]
