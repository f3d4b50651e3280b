"""Weights: written and read back, refused where they do not fit, and the shipped ones small and good."""

import hashlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from diffbook.generative import pretrained
from diffbook.generative.networks import MLP
from diffbook.generative.pretrained import NETWORKS, SHIPPED, pack, unpack


def network(width=8, seed=0):
    return MLP((2, width, 2), rngs=nnx.Rngs(seed))


def test_there_and_back_to_half_precision(tmp_path):
    model, other = network(), network(seed=1)
    pack(tmp_path / "a.npz", model, about={"seed": 0})
    assert unpack(tmp_path / "a.npz", other) == {"seed": 0}
    for a, b in zip(*(jax.tree.leaves(nnx.state(m, nnx.Param)) for m in (model, other)), strict=True):
        assert b.dtype == jnp.float32
        np.testing.assert_array_equal(np.asarray(a).astype(np.float16), np.asarray(b))


def test_another_network_is_refused(tmp_path):
    pack(tmp_path / "a.npz", network(), about={})
    with pytest.raises(ValueError, match="another network"):
        unpack(tmp_path / "a.npz", network(width=9))


def test_what_half_precision_cannot_hold_is_refused_and_nothing_written(tmp_path):
    model = network()
    model.out.bias[...] = jnp.array([1e6, jnp.nan])
    with pytest.raises(ValueError, match="finite"):
        pack(tmp_path / "a.npz", model, about={})
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_short_is_an_error(tmp_path):
    path = tmp_path / "a.npz"
    pack(path, network(), about={})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="cut short"):
        unpack(path, network())


def test_what_ships():
    assert sum(path.stat().st_size for path in SHIPPED.glob("*.npz")) < 5_000_000
    for name in NETWORKS:
        model = pretrained(name)
        x = jnp.zeros((2, 28, 28, 1))
        more = () if name.endswith("classifier") else (0.5, jnp.array([0, 10]))
        out = nnx.jit(lambda model, *args: model(*args))(model, x, *more)
        assert bool(jnp.isfinite(out).all()) and len(out) == 2


def test_in_bfloat16_it_says_nearly_the_same():
    x = jax.random.normal(jax.random.key(0), (4, 28, 28, 1))
    run = nnx.jit(lambda model: model(x, 0.5, jnp.arange(4)))
    exact, rounded = (run(pretrained("fashion_mnist", dtype=dtype)) for dtype in (None, jnp.bfloat16))
    assert rounded.dtype == jnp.float32
    assert 2**-12 < float(jnp.linalg.norm(rounded - exact) / jnp.linalg.norm(exact)) < 0.03


def test_bad_input():
    with pytest.raises(ValueError, match="fashion_mnist"):
        pretrained("imagenet")
    with pytest.raises(ValueError, match="dtype=None"):
        pretrained("fashion_mnist_classifier", dtype=jnp.bfloat16)


def test_clothes_are_as_good_as_the_book_asks():
    facts = json.loads((SHIPPED / "fashion_mnist_quality.json").read_text())
    many, few = (facts["ways"][f"SDE, {calls} calls"] for calls in (50, 10))
    assert facts["accuracy"] > 0.92 and facts["samples"] == 5000 and many["calls"] == 50
    assert many["distance"] <= 5 * facts["floor"]
    assert few["distance"] <= 2 * many["distance"]
    assert min(many["agreement"], few["agreement"]) >= 0.90
    assert all(0.9 <= way["nn_ratio"] <= 1.1 for way in facts["ways"].values())


def test_digits_are_as_good_as_the_book_asks_from_three_starts():
    root = Path(__file__).parents[1]
    starts = json.loads((root / "weights" / "digits_quality.json").read_text())["seeds"]
    assert [start["seed"] for start in starts] == [0, 1, 2]
    for start in starts:
        assert start["floors"] <= 1.3 and start["agreement"] >= 0.99 and 0.9 <= start["novelty"] <= 1.1, start
        assert start["training_seconds"] <= 60
    floors = [start["floors"] for start in starts]
    assert "three starts of the network below" in (page := (root / "book" / "08_ddpm.md").read_text())
    assert f"got {min(floors):.2f} to {max(floors):.2f}" in page


@pytest.mark.parametrize("table", ["few_calls", "fashion_mnist_quality"])
def test_what_ships_beside_the_weights_was_measured_with_them(table):
    measured = json.loads((SHIPPED / f"{table}.json").read_text())["weights"]
    assert measured == hashlib.sha256((SHIPPED / "fashion_mnist.npz").read_bytes()).hexdigest()
