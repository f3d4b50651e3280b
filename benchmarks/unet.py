"""Contenders on training the U-Net of Fashion-MNIST: 50 steps of 128 pictures, ours and the same network in torch.

Both start from the weights that ship with the package, and answer with what they predict for a fixed batch. A step of
either is the whole of it: a batch drawn, noise, gradient, clipping, AdamW, the moving average of the parameters. Fifty
steps are what `fit` does between two reports if nothing else is asked: each such stretch takes its memory anew.
"""

import math

import numpy as np
from measure import Task

STEPS, BATCH, CLASSES = 50, 128, 10
RATE, WEIGHT_DECAY, B2, CLIP, EMA, DROP_LABEL = 1e-3, 0.01, 0.99, 1.0, 0.999, 0.1


def pictures(count=2_000):
    """Noise in the place of clothes: the time does not depend on it."""
    draws = np.random.default_rng(0)
    return draws.uniform(-1, 1, (count, 28, 28, 1)).astype(np.float32), draws.integers(0, CLASSES, count)


def asked():
    """A fixed batch: pictures, times, classes, the last of them "no class"."""
    return pictures(32)[0], np.linspace(0.05, 0.95, 32, dtype=np.float32), np.arange(32) % (CLASSES + 1)


def multiplications():
    """Of one picture forward, by the definition of a convolution."""
    from unet_torch import SHIPPED, embeds

    with np.load(SHIPPED) as file:
        weights = {name: file[name] for name in file.files if name != "about"}
    fine, coarse = ("into", "up1", "out"), ("down", "down2", "thin", "thick", "up2", "up")
    places = {name: 14 * 14 for name in fine} | {name: 7 * 7 for name in coarse}
    layers = sum(
        array.size * (1 if "tell" in name else places.get(name.split(".")[0], 1))
        for name, array in weights.items()
        if array.ndim == 2 and not embeds(name)
    )
    answers = [array for name, array in weights.items() if name.endswith("answer.kernel")]
    return layers + sum(2 * 49**2 * len(array) for array in answers)  # who looks at whom, and the mean of what is seen


def trained():
    import jax
    import jax.numpy as jnp
    import optax

    from diffbook.generative import denoising_loss, pretrained, vp_cosine
    from diffbook.generative.training import fit, minibatches

    model = pretrained("fashion_mnist")
    answer = np.asarray(model(*map(jnp.asarray, asked())))

    def loss(model, batch, key):
        images, labels = batch
        drop, noise = jax.random.split(key)
        labels = jnp.where(jax.random.bernoulli(drop, DROP_LABEL, labels.shape), model.num_classes, labels)
        return denoising_loss(
            model, images, vp_cosine(), key=noise, predict="v", labels=labels, weight=lambda t: 0.5 + t
        )

    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adamw(RATE, b2=B2, weight_decay=WEIGHT_DECAY))
    batches = minibatches(pictures(), BATCH, key=jax.random.key(0))
    steps = fit(
        model, batches, loss, num_steps=10**6, key=jax.random.key(1), optimizer=optimizer, ema=EMA, every=STEPS,
        progress=False,
    )  # fmt: skip
    return Task(lambda: next(steps), answer=lambda _: answer)


def trained_torch():
    import torch
    from unet_torch import UNet, train

    model = UNet.shipped()
    with torch.no_grad():
        answer = model(*map(torch.as_tensor, asked())).numpy()
    step = train(model, *pictures(), rate=lambda _: RATE)
    return Task(lambda: [next(step) for _ in range(STEPS)][-1], answer=lambda _: answer)


def generated():
    """64 pictures with 50 calls, as a reader asks for them: the first call, with all it takes, is `first`."""
    import jax

    from diffbook.generative import generate, pretrained

    model, labels = pretrained("fashion_mnist"), np.arange(64) % CLASSES
    return Task(lambda: np.asarray(generate(model, labels, key=jax.random.key(0), num_steps=50)), answer=np.shape)


def products():
    """What the same two cores make of plain matrix products, of the size of those in a convolution."""
    import jax
    import jax.numpy as jnp

    a, b, times = jnp.ones((16, 2048, 128)), jnp.eye(128)[None].repeat(16, 0), 200
    run = jax.jit(lambda a: jax.lax.fori_loop(0, times, lambda _, a: jnp.einsum("tpi,tio->tpo", a, b), a))
    count = times * math.prod(a.shape) * 128
    return Task(lambda: run(a).block_until_ready(), scale=1e9 / count, answer=lambda _: None)
