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
from quality import BATCH, look

from diffbook import data, metrics
from diffbook.generative import ddim, dpm_solver_pp_2m, edm_heun, sample_flow, sde_dpm_solver_pp_2m, vp_cosine
from diffbook.generative.pretrained import pretrained

SHIPPED = Path(__file__).resolve().parent.parent / "diffbook" / "generative" / "weights" / "few_calls.json"
CALLS = (4, 8, 12, 24)
SEED = 9


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
    return calls // 2 + 1 if step is edm_heun else calls


def main(count, all_calls):
    model, judge = pretrained("fashion_mnist"), pretrained("fashion_mnist_classifier")
    (train, train_labels), (test, test_labels) = data.fashion_mnist("train"), data.fashion_mnist("test")
    real, seen = look(judge, test)
    one_set = np.concatenate([np.flatnonzero(train_labels == c)[: count // 10] for c in range(10)])
    facts = {
        "pictures": count,
        "seed": SEED,
        "calls": all_calls,
        "floor": metrics.frechet_distance(look(judge, train[one_set])[0], real),
        "accuracy": float((seen == test_labels).mean()),
        "methods": {},
    }
    labels = np.arange(count) % 10
    for step in (ddim, edm_heun, dpm_solver_pp_2m, sde_dpm_solver_pp_2m):
        row = {"distance": [], "agreement": []}
        for calls in all_calls:
            started = time.time()
            found, seen = look(judge, draw(model, step, num_steps(step, calls), count))
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
