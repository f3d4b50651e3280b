"""Diffusion, from the heat equation to image generation: the package beneath the book."""

__version__ = "0.1.0"
