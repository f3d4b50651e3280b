"""The deterministic law: fields that spread, and how to compute them."""
