"""Quality against calls of the shipped network, for chapter 9: `python weights/few_calls.py`.

Writes `diffbook/generative/weights/few_calls.json`. It reads the Fashion-MNIST test and training sets for the floor.
Beside each distance stands what it is when the pictures of each class are drawn again from themselves with replacement,
twenty times, by the same rows for every entry: as all entries start from the same noise, compare row by row. With the
table go the checksum of the weights and, for the first pictures of one entry, which the page draws again, what the
classifier sees in them and their mean brightness.
"""

import argparse
import hashlib
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
from quality import BATCH, look

from diffbook import data, metrics
from diffbook.generative import ddim, dpm_solver_pp_2m, heun, sample_flow, sde_dpm_solver_pp_2m, vp_cosine
from diffbook.generative.pretrained import SHIPPED, pretrained

CALLS = (4, 8, 12, 24)
SEED, RESAMPLINGS = 9, 20
AGAIN = (ddim, 12, 20)  # the entry, and how many pictures of it


def draw(model, step, num_steps, count):
    """`count` pictures, the classes in turn, in `num_steps` even steps of t from 1 to 0; the same noise every time."""
    ts = jnp.linspace(1, 0, num_steps + 1)

    @jax.jit
    def down(x, labels, key):
        return sample_flow(lambda x, t: model(x, t, labels), x, ts, vp_cosine(), kind="v", step=step, key=key)

    pictures = []
    for i in range(0, count, BATCH):
        start, walk = jax.random.split(jax.random.fold_in(jax.random.key(SEED), i))
        pictures.append(down(jax.random.normal(start, (BATCH, 28, 28, 1)), (i + jnp.arange(BATCH)) % 10, walk))
    return np.concatenate(pictures)


def num_steps(step, calls):
    """Heun's step asks twice, but for the first one, from no signal, and the last one, to no noise."""
    return calls // 2 + 1 if step is heun else calls


def resampled(features, real):
    """Distances when the pictures of each class are drawn again with replacement."""
    turn = np.arange(len(features))
    rows = turn % 10 + 10 * np.random.default_rng(SEED).integers(len(turn) // 10, size=(RESAMPLINGS, len(turn)))
    return [round(metrics.frechet_distance(features[some], real), 3) for some in rows]


def floor(features, labels, real, count):
    """Distances of as many training pictures, equally many of each class, in twenty draws."""
    draws, kinds = np.random.default_rng(SEED), [np.flatnonzero(labels == c) for c in range(10)]
    sets = [np.concatenate([draws.choice(kind, count // 10, replace=False) for kind in kinds]) for _ in range(20)]
    return np.array([metrics.frechet_distance(features[rows], real) for rows in sets])


def main(count, all_calls):
    model, judge = pretrained("fashion_mnist"), pretrained("fashion_mnist_classifier")
    (train, train_labels), (test, test_labels) = data.fashion_mnist("train"), data.fashion_mnist("test")
    real, seen = look(judge, test)
    floors = floor(look(judge, train)[0], train_labels, real, count)
    facts = {
        "pictures": count,
        "seed": SEED,
        "calls": all_calls,
        "floor": float(floors.mean()),
        "floor_std": float(floors.std(ddof=1)),
        "accuracy": float((seen == test_labels).mean()),
        "weights": hashlib.sha256((SHIPPED / "fashion_mnist.npz").read_bytes()).hexdigest(),
        "again": {},
        "methods": {},
    }
    labels = np.arange(count) % 10
    for step in (ddim, heun, dpm_solver_pp_2m, sde_dpm_solver_pp_2m):
        row = {"distance": [], "agreement": [], "resampled": []}
        for calls in all_calls:
            started = time.time()
            pictures = draw(model, step, num_steps(step, calls), count)
            found, seen = look(judge, pictures)
            row["distance"].append(round(metrics.frechet_distance(found, real), 4))
            row["agreement"].append(round(float((seen == labels).mean()), 4))
            row["resampled"].append(resampled(found, real))
            if (step, calls) == AGAIN[:2]:
                means = pictures[: AGAIN[2]].mean((1, 2, 3))
                facts["again"] = {"seen": seen[: AGAIN[2]].tolist(), "mean": [round(float(mean), 4) for mean in means]}
            print(step.__name__, calls, row["distance"][-1], row["agreement"][-1], f"{time.time() - started:.0f} s")
        facts["methods"][step.__name__] = row
    (SHIPPED / "few_calls.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=500, help="for each entry, a multiple of 250")
    parser.add_argument("--calls", type=int, nargs="+", default=CALLS, help="even numbers; chapter 9 needs 12")
    main(parser.parse_args().pictures, parser.parse_args().calls)
