"""Chapter 8's digits from three starts: `python weights/digits.py` trains and judges anew for each seed and writes
`weights/digits_quality.json`.

The chapter trains with one seed, and its claims hold that run to the same three tests.
"""

import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from diffbook import data, metrics
from diffbook.generative import ddpm_betas, ddpm_step, denoising_loss, from_betas, respace, sample
from diffbook.generative.networks import AroundGaussian, ResidualMLP
from diffbook.generative.training import fit, minibatches

SEEDS, TRAINING_STEPS, BATCH, LEVELS, SETS = (0, 1, 2), 2_000, 128, 250, 4


def trained(images, labels, betas, seed):
    """The network of the chapter, from a start of its own."""
    keys, schedule = jax.random.split(jax.random.key(seed)), from_betas(betas)
    model = AroundGaussian(
        ResidualMLP(64, width=256, depth=3, num_classes=10, rngs=nnx.Rngs(seed)), images, schedule, limit=1.0
    )

    def loss(model, batch, key):
        return denoising_loss(model, batch[0], schedule, key=key, labels=batch[1], t_min=1 / len(betas))

    optimizer = optax.adam(optax.cosine_decay_schedule(4e-3, TRAINING_STEPS), b2=0.99)
    batches = minibatches((images, labels), BATCH, key=keys[0])
    for _ in fit(model, batches, loss, num_steps=TRAINING_STEPS, optimizer=optimizer, key=keys[1]):
        pass
    return model


def drawn(model, labels, betas, key):
    """One picture for each label, in `LEVELS` of the thousand steps, with the variance of Bayes' rule."""
    levels = np.linspace(0, len(betas), LEVELS + 1).round().astype(int)
    few, t = respace(betas, levels[1:]), jnp.asarray(levels / len(betas), jnp.float32)
    start, walk = jax.random.split(key)
    return sample(
        lambda x, j: model(x, t[j], labels),
        jax.random.normal(start, (len(labels), 8, 8, 1)),
        range(LEVELS, -1, -1),
        lambda x, j, j_next, eps, z: ddpm_step(x, j, eps, few, z, variance="posterior"),
        key=walk,
        save="last",
    )


def main():
    (train, train_labels), (test, test_labels) = data.digits("train"), data.digits("test")
    betas, asked = ddpm_betas(), np.tile(test_labels, SETS)
    floor, floor_std = metrics.frechet_floor(train, test, train_labels=train_labels, test_labels=test_labels)
    facts = {"floor": floor, "floor_std": floor_std, "pictures": len(asked), "seeds": []}
    for seed in SEEDS:
        start = time.perf_counter()
        model = trained(jnp.asarray(train), jnp.asarray(train_labels), betas, seed)
        seconds = time.perf_counter() - start
        pictures = np.asarray(drawn(model, jnp.asarray(asked), betas, jax.random.key(100 + seed)))
        distances = [metrics.frechet_distance(part, test) for part in np.split(pictures, SETS)]
        row = {
            "seed": seed,
            "training_seconds": round(seconds),
            "floors": round(float(np.mean(distances)) / floor, 3),
            "agreement": round(metrics.class_agreement(pictures, asked, train, train_labels), 4),
            "novelty": round(metrics.nearest_neighbour_ratio(pictures, train, test), 3),
        }
        facts["seeds"].append(row)
        print(row, flush=True)
    Path(__file__).with_name("digits_quality.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
