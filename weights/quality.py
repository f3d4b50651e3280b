"""How good the shipped network is: `python weights/quality.py` writes `diffbook/generative/weights/
fashion_mnist_quality.json` and the shortened log of the training beside it.

Frechet distances are between features of the shipped classifier, 5,000 pictures (500 of each class) against 5,000 of
the test set; their floor puts 5,000 training pictures in the place of the generated ones, drawn twenty times.
"""

import json

import jax
import numpy as np
from fashion_mnist import HERE, SHIPPED
from flax import nnx
from tqdm import tqdm

from diffbook import data, metrics
from diffbook.generative import generate, pretrained

COUNT, BATCH, NEIGHBOURS, SEED = 5_000, 250, 2_000, 0


def look(judge, pictures):
    """Features and classes that the classifier sees."""
    see = nnx.jit(lambda judge, x: (judge.features(x), judge(x).argmax(-1)))
    parts = [see(judge, x) for x in np.split(pictures, len(pictures) // BATCH)]
    return tuple(np.concatenate([np.asarray(part[i]) for part in parts]) for i in (0, 1))


def balanced(labels, count):
    """Rows of the first count / 10 of each class, the classes in turn."""
    return np.stack([np.flatnonzero(labels == c)[: count // 10] for c in range(10)], 1).reshape(-1)


def draw(model, num_steps):
    """5,000 pictures, the classes in turn."""
    labels = np.arange(BATCH) % 10
    keys = jax.random.split(jax.random.key(SEED), COUNT // BATCH)
    return np.concatenate([generate(model, labels, key=key, num_steps=num_steps) for key in tqdm(keys)])


def main():
    model, judge = pretrained("fashion_mnist"), pretrained("fashion_mnist_classifier")
    (train, train_labels), (test, test_labels) = data.fashion_mnist("train"), data.fashion_mnist("test")
    train_features, _ = look(judge, train)
    features, seen = look(judge, test)
    rows = balanced(test_labels, COUNT)
    floor, floor_std = metrics.frechet_floor(
        train_features, features[rows], train_labels=train_labels, test_labels=test_labels[rows]
    )
    real, _ = metrics.nearest_neighbours(test[rows[:NEIGHBOURS]], train)
    facts = {
        "floor": floor,
        "floor_std": floor_std,
        "samples": COUNT,
        "accuracy": float((seen == test_labels).mean()),
        "real_nn_distance": float(real.mean()),
        "calls": {},
    }
    for num_steps in (50, 10):
        pictures = draw(model, num_steps)
        found, seen = look(judge, pictures)
        near, _ = metrics.nearest_neighbours(pictures[:NEIGHBOURS], train)
        facts["calls"][num_steps] = {
            "distance": metrics.frechet_distance(found, features[rows]),
            "agreement": float((seen == np.arange(COUNT) % 10).mean()),
            "nn_ratio": float(near.mean() / real.mean()),
        }
        print(num_steps, facts["calls"][num_steps])
    (SHIPPED / "fashion_mnist_quality.json").write_text(json.dumps(facts, indent=1) + "\n")
    log = [json.loads(line) for line in (HERE / "fashion_mnist.jsonl").read_text().splitlines()]
    (SHIPPED / "fashion_mnist_log.json").write_text("[\n" + ",\n".join(json.dumps(entry) for entry in log) + "\n]\n")


if __name__ == "__main__":
    main()
