"""How good the shipped network is: `python weights/quality.py` writes `diffbook/generative/weights/
fashion_mnist_quality.json`.

Frechet distances are between features of the shipped classifier, 5,000 pictures (500 of each class) against 5,000 of
the test set; their floor puts 5,000 training pictures in the place of the generated ones, drawn twenty times.
`--weights FILE` judges another file of `pack` in the same way and writes nothing. `--curve` adds, of 2,000 pictures
each, the distance for every copy that the training left beside its checkpoint, from noise in ten calls; and for the
last, when the way starts not from noise but from training pictures that are noised to time t only, in 25 t calls.
"""

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from fashion_mnist import CHECKPOINTS
from flax import nnx
from tqdm import tqdm

from diffbook import data, metrics
from diffbook.generative import dpm_solver_pp_2m, generate, pretrained, sample_flow, vp_cosine
from diffbook.generative.pretrained import SHIPPED, unpack
from diffbook.generative.schedules import perturb

COUNT, BATCH, NEIGHBOURS, SEED = 5_000, 250, 2_000, 0
WAYS = (  # with guidance a step asks twice
    ("SDE, 50 calls", 50, {}),
    ("SDE, 10 calls", 10, {}),
    ("SDE, guided, 50 calls", 25, {"guidance": 0.5}),
    ("SDE, guided, 10 calls", 5, {"guidance": 0.5}),
    ("flow, 10 calls", 10, {"step": dpm_solver_pp_2m}),
)
CURVE, STARTS = dict(samples=2_000, calls=10), (0.2, 0.4, 0.6, 0.8)


def look(judge, pictures):
    """Features and classes that the classifier sees."""
    see = nnx.jit(lambda judge, x: (judge.features(x), judge(x).argmax(-1)))
    parts = [see(judge, x) for x in np.split(pictures, len(pictures) // BATCH)]
    return tuple(np.concatenate([np.asarray(part[i]) for part in parts]) for i in (0, 1))


def balanced(labels, count):
    """Rows of the first count / 10 of each class, the classes in turn."""
    return np.stack([np.flatnonzero(labels == c)[: count // 10] for c in range(10)], 1).reshape(-1)


def draw(model, num_steps, count, **options):
    """So many pictures, the classes in turn."""
    labels = np.arange(BATCH) % 10
    keys = jax.random.split(jax.random.key(SEED), count // BATCH)
    return np.concatenate([generate(model, labels, key=key, num_steps=num_steps, **options) for key in tqdm(keys)])


class Judge:
    """The real pictures as the classifier sees them, and what they say of others."""

    def __init__(self):
        (self.train, self.train_labels), (test, labels) = data.fashion_mnist("train"), data.fashion_mnist("test")
        self.classifier = pretrained("fashion_mnist_classifier")
        self.train_features, _ = look(self.classifier, self.train)
        features, seen = look(self.classifier, test)
        rows = balanced(labels, COUNT)
        self.features, self.labels = features[rows], labels[rows]
        self.accuracy = float((seen == labels).mean())
        near, _ = metrics.nearest_neighbours(test[rows[:NEIGHBOURS]], self.train)
        self.near = float(near.mean())

    def floor(self, count):
        """Mean and spread of the distance of so many training pictures from the test set."""
        return metrics.frechet_floor(
            self.train_features, self.features[:count], train_labels=self.train_labels, test_labels=self.labels[:count]
        )

    def distance(self, pictures):
        """From as many of the test set."""
        return metrics.frechet_distance(look(self.classifier, pictures)[0], self.features[: len(pictures)])

    def report(self, pictures):
        _, seen = look(self.classifier, pictures)
        near, _ = metrics.nearest_neighbours(pictures[:NEIGHBOURS], self.train)
        return {
            "distance": self.distance(pictures),
            "agreement": float((seen == np.arange(len(pictures)) % 10).mean()),
            "nn_ratio": float(near.mean() / self.near),
        }


def curve(model, judge):
    """The distance after so many minutes of one core."""
    for path in sorted(CHECKPOINTS.glob("fashion_mnist-*.npz"), key=lambda path: int(path.stem.split("-")[1])):
        about = unpack(path, model)
        distance = judge.distance(draw(model, CURVE["calls"], CURVE["samples"]))
        yield {"step": about["step"], "cpu_minutes": about["cpu_minutes"], "distance": distance}


def restarted(model, judge):
    """The distance when only the way down from t is the network's: where along it the errors are made."""
    rows, schedule = balanced(judge.train_labels, CURVE["samples"]), vp_cosine()

    @nnx.jit(static_argnames="calls")
    def down(model, x0, labels, key, t, calls):
        x = perturb(x0, jnp.full(len(x0), t), jax.random.normal(key, x0.shape), schedule)
        ts = t * jnp.linspace(1, 0, calls + 1)
        return jnp.clip(
            sample_flow(lambda x, t: model(x, t, labels), x, ts, schedule, kind="v", step=dpm_solver_pp_2m, limit=1.0),
            -1,
            1,
        )

    for t in STARTS:
        parts = np.split(rows, len(rows) // BATCH)
        keys = jax.random.split(jax.random.key(SEED), len(parts))
        pictures = [
            down(model, judge.train[part], judge.train_labels[part], key, t, calls=round(25 * t))
            for part, key in zip(parts, keys, strict=True)
        ]
        yield {"t": t, "distance": judge.distance(np.concatenate(pictures))}


def main(weights, with_curve):
    model, judge, path = pretrained("fashion_mnist"), Judge(), SHIPPED / "fashion_mnist_quality.json"
    about = {"cpu_minutes": None} | unpack(weights or SHIPPED / "fashion_mnist.npz", model)
    floor, floor_std = judge.floor(COUNT)
    facts = {"floor": floor, "floor_std": floor_std, "samples": COUNT, "accuracy": judge.accuracy}
    facts |= {"real_nn_distance": judge.near, "step": about["step"], "cpu_minutes": about["cpu_minutes"], "ways": {}}
    for name, num_steps, options in WAYS:
        facts["ways"][name] = judge.report(draw(model, num_steps, COUNT, **options))
        print(name, facts["ways"][name], f"{facts['ways'][name]['distance'] / floor:.2f} floors", flush=True)
    facts["curve"] = CURVE | {"floor": judge.floor(CURVE["samples"])[0]}
    if with_curve:
        facts["curve"]["points"] = list(curve(model, judge))
        facts["curve"]["restarted"] = list(restarted(pretrained("fashion_mnist"), judge))
    elif path.exists():
        facts["curve"] = json.loads(path.read_text()).get("curve", facts["curve"])
    print(json.dumps(facts, indent=1))
    if weights is None:
        path.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="another file to judge")
    parser.add_argument("--curve", action="store_true", help="judge the copies beside the checkpoint too")
    main(parser.parse_args().weights, parser.parse_args().curve)
