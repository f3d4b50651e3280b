"""Quality against calls of the shipped network, for chapter 9: `python weights/few_calls.py`.

Writes `diffbook/generative/weights/few_calls.json`. It reads the Fashion-MNIST test and training sets for the floor.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from diffbook import data, metrics
from diffbook.generative import ddim, dpm_solver_pp_2m, edm_heun, sample_flow, vp_cosine
from diffbook.generative.pretrained import pretrained

SHIPPED = Path(__file__).resolve().parent.parent / "diffbook" / "generative" / "weights" / "few_calls.json"
CALLS = (4, 8, 12, 24)
SEED, BATCH = 9, 250


def draw(model, step, num_steps, count):
    """`count` pictures, the classes in turn, in `num_steps` even steps of t from 1 to 0; the same noise every time."""
    ts, schedule = jnp.linspace(1, 0, num_steps + 1), vp_cosine()
    pictures = []
    for i in range(0, count, BATCH):
        labels = (i + jnp.arange(BATCH)) % 10
        x = jax.random.normal(jax.random.fold_in(jax.random.key(SEED), i), (BATCH, 28, 28, 1))
        pictures.append(
            sample_flow(lambda x, t, labels=labels: model(x, t, labels), x, ts, schedule, kind="v", step=step)
        )
    return np.concatenate(pictures)


def num_steps(step, calls):
    """Heun's step asks twice, but for the first one, from no signal, and the last one, to no noise."""
    return calls // 2 + 1 if step is edm_heun else calls


def main(count, all_calls):
    model, judge = pretrained("fashion_mnist"), pretrained("fashion_mnist_classifier")
    features = nnx.jit(lambda judge, x: (judge.features(x), judge(x).argmax(-1)))

    def look(pictures):
        parts = [features(judge, jnp.asarray(p)) for p in np.split(pictures, len(pictures) // BATCH)]
        return (np.concatenate([np.asarray(part[i]) for part in parts]) for i in (0, 1))

    (train, train_labels), (test, test_labels) = data.fashion_mnist("train"), data.fashion_mnist("test")
    real, seen = look(test)
    one_set = np.concatenate([np.flatnonzero(train_labels == c)[: count // 10] for c in range(10)])
    facts = {
        "pictures": count,
        "seed": SEED,
        "calls": all_calls,
        "floor": metrics.frechet_distance(next(look(train[one_set])), real),
        "accuracy": float((seen == test_labels).mean()),
        "methods": {},
    }
    labels = np.arange(count) % 10
    for step in (ddim, edm_heun, dpm_solver_pp_2m):
        row = {"distance": [], "agreement": []}
        for calls in all_calls:
            started = time.time()
            found, seen = look(draw(model, step, num_steps(step, calls), count))
            row["distance"].append(round(metrics.frechet_distance(found, real), 4))
            row["agreement"].append(round(float((seen == labels).mean()), 4))
            print(step.__name__, calls, row["distance"][-1], row["agreement"][-1], f"{time.time() - started:.0f} s")
        facts["methods"][step.__name__] = row
    SHIPPED.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=500, help="for each entry, a multiple of 250")
    parser.add_argument("--calls", type=int, nargs="+", default=CALLS, help="even numbers; chapter 9 needs 12")
    main(parser.parse_args().pictures, parser.parse_args().calls)
