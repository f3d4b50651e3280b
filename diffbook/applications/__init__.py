"""Systems that use what the other parts provide, one file each."""

from diffbook.applications import clouds

__all__ = ["clouds"]
