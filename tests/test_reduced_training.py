"""Chapter 8 offers a training run that is too long for the page: here it is made, with few steps and little data."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from diffbook import data, plotting
from diffbook.generative import denoising_loss, generate, vp_cosine
from diffbook.generative.training import fit, minibatches

PAGE = Path(__file__).parents[1] / "book" / "08_ddpm.md"


def shortened(code, *changes):
    for old, new in changes:
        assert code.count(old) >= 1, old
        code = code.replace(old, new)
    return code


@pytest.mark.long
def test_the_run_offered_beside_the_page(monkeypatch, capsys):
    text = PAGE.read_text()
    loss = re.search(r"^def clothes_loss.*?\n(?=\n|```)", text, re.M | re.S)[0]
    offered = re.search(r"^```python\n(from diffbook.generative.unet import UNet.*?)^```", text, re.M | re.S)[1]
    few = np.random.default_rng(0).uniform(-1, 1, (300, 28, 28, 1)).astype(np.float32), np.arange(300) % 10
    monkeypatch.setattr(data, "fashion_mnist", lambda split: few)
    page = dict(
        jax=jax, jnp=jnp, nnx=nnx, optax=optax, data=data, plotting=plotting, fit=fit, minibatches=minibatches,
        generate=generate, denoising_loss=denoising_loss, vp_cosine=vp_cosine, kinds=jnp.arange(10),
    )  # fmt: skip
    exec(loss, page)
    smaller = ("UNet(rngs", "UNet(fine=4, coarse=8, heads=2, attention=(1, 1), thin=2, width=16, rngs")
    steps = ("num_steps=1000", "every=1, num_steps=2"), ("key=jax.random.key(2)", "num_steps=2, key=jax.random.key(2)")
    exec(shortened(offered, smaller, *steps), page)
    first, second = eval(capsys.readouterr().out)  # what the run prints: the loss after each stretch
    assert first > 0 and second > 0
    assert page["ten_kinds"].shape == (10, 28, 28, 1)
