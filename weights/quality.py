"""How good the shipped network is: `python weights/quality.py` writes `diffbook/generative/weights/
fashion_mnist_quality.json`.

Frechet distances are between features of the shipped classifier, 5,000 pictures (500 of each class) against 5,000 of
the test set; their floor puts 5,000 training pictures in the place of the generated ones, drawn twenty times.
`--weights FILE` judges another file of `pack` in the same way and writes nothing. `--curve` adds, of 2,000 pictures
each, the distance for every copy that the training left beside its checkpoint, in ten calls; and for the shipped
network, when the way starts not from noise but from training pictures that are noised to time t only, in 25 t calls.
`--peer FOLDER` only adds to the table, in the same way as for our copies, what `benchmarks/unet_torch.py` left there.
"""

import argparse
import hashlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from fashion_mnist import CHECKPOINTS
from flax import nnx
from tqdm import tqdm

from diffbook import data, metrics
from diffbook.generative import dpm_solver_pp_2m, generate, pretrained, sample_flow, sde_dpm_solver_pp_2m, vp_cosine
from diffbook.generative.generate import asking_times
from diffbook.generative.pretrained import SHIPPED, unpack
from diffbook.generative.schedules import perturb

COUNT, BATCH, NEIGHBOURS, SEED = 5_000, 250, 2_000, 0
MIDDLE = (0.3, 0.8)  # of the times, for guidance
WAYS = (
    ("SDE, 50 calls", 50, {}),
    ("SDE, 10 calls", 10, {}),
    ("SDE, guided, 50 calls", 33, {"guidance": 0.5, "interval": MIDDLE}),
    ("SDE, guided, 10 calls", 7, {"guidance": 0.5, "interval": MIDDLE}),
    ("flow, 10 calls", 10, {"step": dpm_solver_pp_2m}),
)
CURVE, STARTS = dict(samples=2_000, calls=10), (0.2, 0.4, 0.6, 0.8, 1.0)


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


def confusion(wanted, seen):
    """How many pictures of each class were seen as each, as nested lists."""
    table = np.zeros((10, 10), int)
    np.add.at(table, (wanted, seen), 1)
    return table.tolist()


class Judge:
    """The real pictures as the classifier sees them, and what they say of others."""

    def __init__(self):
        (self.train, self.train_labels), (test, labels) = data.fashion_mnist("train"), data.fashion_mnist("test")
        self.classifier = pretrained("fashion_mnist_classifier")
        self.train_features, _ = look(self.classifier, self.train)
        features, seen = look(self.classifier, test)
        self.confusion = confusion(labels, seen)
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
        wanted = np.arange(len(pictures)) % 10
        near, _ = metrics.nearest_neighbours(pictures[:NEIGHBOURS], self.train)
        return {
            "distance": self.distance(pictures),
            "agreement": float((seen == wanted).mean()),
            "nn_ratio": float(near.mean() / self.near),
            "confusion": confusion(wanted, seen),
        }


def curve(paths, judge):
    """The distance of each file of weights, by the minutes of processor that it took."""
    found = []
    for path in paths:
        model = pretrained("fashion_mnist")
        about = unpack(path, model)
        distance = judge.distance(draw(model, CURVE["calls"], CURVE["samples"]))
        found.append({"step": about["step"], "cpu_minutes": about["cpu_minutes"], "distance": distance})
    return sorted(found, key=lambda point: point["step"])


def restarted(model, judge):
    """The distance when only the way down from t is the network's: where along it the errors are made."""
    rows, schedule = balanced(judge.train_labels, CURVE["samples"]), vp_cosine()

    @nnx.jit(static_argnames="calls")
    def down(model, x0, labels, key, t, calls):
        noise, walk = jax.random.split(key)
        x = perturb(x0, jnp.full(len(x0), t), jax.random.normal(noise, x0.shape), schedule)
        ts, options = t * jnp.linspace(1, 0, calls + 1), dict(kind="v", step=sde_dpm_solver_pp_2m, limit=1.0, key=walk)
        return jnp.clip(sample_flow(lambda x, t: model(x, t, labels), x, ts, schedule, **options), -1, 1)

    for t in STARTS:
        parts = np.split(rows, len(rows) // BATCH)
        keys = jax.random.split(jax.random.key(SEED), len(parts))
        pictures = [
            down(model, judge.train[part], judge.train_labels[part], key, t, calls=round(25 * t))
            for part, key in zip(parts, keys, strict=True)
        ]
        yield {"t": t, "distance": judge.distance(np.concatenate(pictures))}


def asked(num_steps, options):
    """Calls of the network: those with guidance count double."""
    low, high = options.get("interval", (0, 1))
    times = np.asarray(asking_times(num_steps)[:-1])
    return num_steps + int(((low <= times) & (times <= high)).sum()) * (options.get("guidance", 0) > 0)


def add_peer(folder):
    """Beside the curve of the shipped network, that of the peer's."""
    path = SHIPPED / "fashion_mnist_quality.json"
    facts = json.loads(path.read_text())
    facts["curve"]["peer"] = curve(folder.glob("*.npz"), Judge())
    print(json.dumps(facts["curve"]))
    path.write_text(json.dumps(facts, indent=1) + "\n")


def main(weights, with_curve):
    model, judge, path = pretrained("fashion_mnist"), Judge(), SHIPPED / "fashion_mnist_quality.json"
    about = {"cpu_minutes": None} | unpack(weights or SHIPPED / "fashion_mnist.npz", model)
    floor, floor_std = judge.floor(COUNT)
    facts = {"floor": floor, "floor_std": floor_std, "samples": COUNT, "accuracy": judge.accuracy}
    facts |= {"confusion": judge.confusion, "real_nn_distance": judge.near}
    facts |= {"weights": hashlib.sha256((weights or SHIPPED / "fashion_mnist.npz").read_bytes()).hexdigest()}
    facts |= {"pixel_mean": float(judge.train.mean()), "pixel_std": float(judge.train.std())}
    facts |= {"step": about["step"], "cpu_minutes": about["cpu_minutes"], "ways": {}}
    for name, num_steps, options in WAYS:
        calls = asked(num_steps, options)
        facts["ways"][name] = {"calls": calls} | judge.report(draw(model, num_steps, COUNT, **options))
        row = facts["ways"][name]
        print(
            name, f"{calls} calls, {row['distance'] / floor:.2f} floors, agreement {row['agreement']:.3f}", flush=True
        )
    if with_curve:
        mean, std = judge.floor(CURVE["samples"])
        facts["curve"] = CURVE | {"floor": mean, "floor_std": std}
        facts["curve"]["points"] = curve(CHECKPOINTS.glob("fashion_mnist-*.npz"), judge)
        facts["curve"]["peer"] = json.loads(path.read_text())["curve"]["peer"] if path.exists() else []
        facts["curve"]["restarted"] = list(restarted(model, judge))
    elif path.exists():
        facts["curve"] = json.loads(path.read_text())["curve"]
    print(json.dumps(facts))
    if weights is None:
        path.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="another file to judge")
    parser.add_argument("--curve", action="store_true", help="judge the copies beside the checkpoint too")
    parser.add_argument("--peer", type=Path, help="folder of weights that benchmarks/unet_torch.py left")
    arguments = parser.parse_args()
    if arguments.peer:
        add_peer(arguments.peer)
    else:
        main(arguments.weights, arguments.curve)
