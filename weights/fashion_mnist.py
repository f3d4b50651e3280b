"""The runs whose results ship with the package: `python weights/fashion_mnist.py NAME`.

Each resumes from its last checkpoint and writes, to `diffbook/generative/weights/`, one line of log per stretch of
steps (`<name>.jsonl`) and the moving average of the parameters in half precision with the facts of the run
(`<name>.npz`). Every thousand steps a copy of these goes beside the checkpoint, for the curve of quality against
minutes. The batch is spread over all devices, and where these are no CPUs the U-Net computes in bfloat16. `README.md`
in this folder says what the runs took and what came out.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from diffbook import data
from diffbook.generative import denoising_loss, vp_cosine
from diffbook.generative.pretrained import NETWORKS, SHIPPED, pack
from diffbook.generative.training import fit, minibatches

SEED, CHECKPOINTS = 0, Path(__file__).resolve().parent.parent / "_build" / "weights"


def plateau(peak, num_steps):
    """Rises for 500 steps, stays, and falls over the last quarter: a run can be made longer while it stays."""
    corners = {500: 100.0, int(0.75 * num_steps): 1.0, num_steps: 0.01}
    return optax.piecewise_interpolate_schedule("linear", peak / 100, corners)


def again(peak, num_steps):
    """`plateau` of 14,000 steps, after which the rate rises once more, and falls evenly to the end."""
    corners = {500: 100.0, 10_500: 1.0, 14_000: 0.01, 14_500: 100.0, num_steps: 0.01}
    return optax.piecewise_interpolate_schedule("linear", peak / 100, corners)


RUNS = {
    "fashion_mnist": dict(num_steps=26_000, batch=128, rate=1.2e-3, schedule=again, ema=0.9995, every=100),
    "fashion_mnist_classifier": dict(num_steps=10_000, batch=128, rate=2e-3, schedule=plateau, ema=0.998, every=100),
}
DROP_LABEL = 0.1  # fraction of pictures shown without their class, for classifier-free guidance


def denoise(model, batch, key):
    """The loss with v for a target, heavier where there is much noise; some pictures come without their class."""
    images, labels = batch
    drop, noise = jax.random.split(key)
    labels = jnp.where(jax.random.bernoulli(drop, DROP_LABEL, labels.shape), model.num_classes, labels)
    return denoising_loss(model, images, vp_cosine(), key=noise, predict="v", labels=labels, weight=lambda t: 0.5 + t)


def classify(model, batch, key):
    """Cross-entropy, with the batch moved by up to one pixel, and mirrored half of the time."""
    images, labels = batch
    move, turn = jax.random.split(key)
    moved = jnp.roll(images, jax.random.randint(move, (2,), -1, 2), (1, 2))
    moved = jnp.where(jax.random.bernoulli(turn), moved, moved[:, :, ::-1])
    return optax.softmax_cross_entropy_with_integer_labels(model(moved), labels).mean()


class Log:
    """Lines of JSON: step, loss, and the minutes of the clock and of the processor so far, pauses left out."""

    def __init__(self, path):
        self.path = path
        self.lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        self.begun, self.before = (time.time(), time.process_time()), None

    def add(self, step, loss):
        """Append; the first time, forget what an earlier start wrote about this step and later ones."""
        if self.before is None:
            self.lines = [line for line in self.lines if line["step"] < step]
            self.before = [self.lines[-1][name] if self.lines else 0.0 for name in ("wall_min", "cpu_min")]
        spent = [now - then for now, then in zip((time.time(), time.process_time()), self.begun, strict=True)]
        wall, cpu = (round(old + new / 60, 2) for old, new in zip(self.before, spent, strict=True))
        self.lines.append(dict(step=step, loss=round(loss, 5), wall_min=wall, cpu_min=cpu))
        self.path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))


def train(name, num_steps, checkpoint):
    """Train network `name`, log, and ship what came out."""
    run = RUNS[name] | ({"num_steps": num_steps} if num_steps else {})
    in_half = name == "fashion_mnist" and jax.default_backend() != "cpu"
    model = NETWORKS[name](rngs=nnx.Rngs(SEED), **(dict(dtype=jnp.bfloat16) if in_half else {}))
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    loss = classify if name.endswith("classifier") else denoise
    rate = run["schedule"](run["rate"], run["num_steps"])
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.99, weight_decay=0.01))
    log = Log(SHIPPED / f"{name}.jsonl")
    checkpoint.mkdir(parents=True, exist_ok=True)
    batches = minibatches(data.fashion_mnist("train"), run["batch"], key=jax.random.key(SEED), sharding=spread)
    steps = fit(
        model, batches, loss, num_steps=run["num_steps"], key=jax.random.key(SEED + 1), optimizer=optimizer,
        ema=run["ema"], every=run["every"], save_every=5 * run["every"], checkpoint=checkpoint / name,
    )  # fmt: skip
    for step, value in steps:
        log.add(step, value)
        if step % (10 * run["every"]) == 0 or step == run["num_steps"]:
            about = run | dict(
                schedule=run["schedule"].__name__, seed=SEED, step=step, cpu_minutes=log.lines[-1]["cpu_min"]
            )
            pack(SHIPPED / f"{name}.npz", model, about=about)
            pack(checkpoint / f"{name}-{step}.npz", model, about=about)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(RUNS))
    parser.add_argument("--num-steps", type=int, help="of the whole run; the length of the decay follows it")
    parser.add_argument(
        "--checkpoint", type=Path, default=Path(__file__).resolve().parent.parent / "_build" / "weights"
    )
    arguments = parser.parse_args()
    train(arguments.name, arguments.num_steps, arguments.checkpoint)
