"""The runs whose results ship with the package: `python weights/fashion_mnist.py classifier|unet`.

Each resumes from its last checkpoint, writes one line of log per stretch of steps to `weights/<name>.jsonl` and the
half-precision parameters, with the facts of the run, to `diffbook/generative/weights/<name>.npz`. `README.md` in this
folder says what they took and what came out.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from diffbook import data
from diffbook.generative import denoising_loss, vp_cosine
from diffbook.generative.pretrained import NETWORKS, SHIPPED, pack
from diffbook.generative.training import fit, minibatches

HERE = Path(__file__).resolve().parent
SEED = 0
RUNS = {
    "fashion_mnist": dict(num_steps=10_000, batch=128, rate=1.5e-3, ema=0.9995, every=100),
    "fashion_mnist_classifier": dict(num_steps=6_400, batch=128, rate=3e-3, ema=0.995, every=100),
}
DROP_LABEL = 0.1  # fraction of pictures shown without their class, for classifier-free guidance


def denoise(model, batch, key):
    """The simple loss with v for a target; some pictures come without their class."""
    images, labels = batch
    drop, noise = jax.random.split(key)
    labels = jnp.where(jax.random.bernoulli(drop, DROP_LABEL, labels.shape), model.num_classes, labels)
    return denoising_loss(model, images, vp_cosine(), key=noise, predict="v", labels=labels)


def classify(model, batch, key):
    """Cross-entropy, with the batch moved by up to one pixel."""
    images, labels = batch
    moved = jnp.roll(images, jax.random.randint(key, (2,), -1, 2), (1, 2))
    return optax.softmax_cross_entropy_with_integer_labels(model(moved), labels).mean()


def train(name, num_steps, checkpoint):
    """Train network `name`, log, and ship what came out."""
    run = RUNS[name] | ({"num_steps": num_steps} if num_steps else {})
    model = NETWORKS[name](nnx.Rngs(SEED))
    loss = classify if name.endswith("classifier") else denoise
    rate = optax.cosine_onecycle_schedule(run["num_steps"], run["rate"], pct_start=0.1)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.99, weight_decay=0.01))
    batches = minibatches(data.fashion_mnist("train"), run["batch"], key=jax.random.key(SEED))
    started, cpu, log = time.time(), time.process_time(), HERE / f"{name}.jsonl"
    steps = fit(
        model, batches, loss, num_steps=run["num_steps"], key=jax.random.key(SEED + 1), optimizer=optimizer,
        ema=run["ema"], every=run["every"], save_every=5 * run["every"], checkpoint=checkpoint / name,
    )  # fmt: skip
    for step, value in steps:
        facts = dict(step=step, loss=round(value, 5), wall_s=round(time.time() - started, 1))
        with log.open("a") as file:
            print(json.dumps(facts | dict(cpu_s=round(time.process_time() - cpu, 1))), file=file)
        if step % (10 * run["every"]) == 0 or step == run["num_steps"]:
            pack(SHIPPED / f"{name}.npz", model, about=run | dict(seed=SEED, step=step))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(RUNS))
    parser.add_argument("--num-steps", type=int, help="of the whole run; the length of the decay follows it")
    parser.add_argument("--checkpoint", type=Path, default=HERE.parent / "_build" / "weights")
    arguments = parser.parse_args()
    train(arguments.name, arguments.num_steps, arguments.checkpoint)
