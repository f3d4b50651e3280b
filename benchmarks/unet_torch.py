"""`diffbook.generative.UNet` in torch, with the same weights under the same names, and its training step.

`python benchmarks/unet_torch.py MINUTES FOLDER` trains it from a start of its own on Fashion-MNIST for so many minutes
of processor, with the rate that `weights/fashion_mnist.py` has on its plateau, and every five minutes writes its moving
average as the package does, so that `weights/quality.py --peer FOLDER` can judge it.
"""

import itertools
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SHIPPED = Path(__file__).resolve().parent.parent / "diffbook" / "generative" / "weights" / "fashion_mnist.npz"
CLASSES, DROP_LABEL, BATCH = 10, 0.1, 128
START = 0.5 * math.pi * 0.008 / 1.008  # the angle at which `vp_cosine()` starts


def norm(x):
    """Over the last axis, without parameters, as flax does it."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def grid(x, layer):
    """A convolution of pictures whose channels come last: a view, in torch's `channels_last` layout."""
    return layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Condition(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(64, width), nn.Linear(width, width)
        self.classes = nn.Embedding(CLASSES + 1, width)
        nn.init.normal_(self.classes.weight, std=width**-0.5)
        self.register_buffer("frequencies", torch.logspace(0, 3, 32))

    def forward(self, t, label):
        phases = t[:, None] * self.frequencies
        h = self.first(torch.cat([phases.sin(), phases.cos()], 1))
        return F.silu(self.second(F.silu(h)) + self.classes(label))


class Block(nn.Module):
    def __init__(self, width, condition):
        super().__init__()
        self.tell, self.up = nn.Linear(condition, 2 * width), nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        nn.init.zeros_(self.down.weight)

    def forward(self, h, c):
        scale, shift = self.tell(c).chunk(2, 1)
        return h + self.down(F.silu(self.up(norm(h) * (1 + scale) + shift)))


class ConvBlock(nn.Module):
    def __init__(self, width, condition):
        super().__init__()
        self.tell = nn.Linear(condition, 2 * width)
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, h, c):
        scale, shift = self.tell(c)[:, None, None].chunk(2, -1)
        return h + grid(F.silu(grid(norm(h) * (1 + scale) + shift, self.first)), self.second)


class AttentionBlock(nn.Module):
    def __init__(self, width, heads, condition):
        super().__init__()
        self.heads = heads
        self.tell, self.ask = nn.Linear(condition, 4 * width), nn.Linear(width, 3 * width, bias=False)
        self.answer, self.up, self.down = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(2 * width, width),
        )
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, h, c):
        scale, shift, scale2, shift2 = self.tell(c)[:, None].chunk(4, -1)
        asked = self.ask(norm(h) * (1 + scale) + shift).unflatten(-1, (3, self.heads, -1))
        q, k, v = asked.permute(2, 0, 3, 1, 4)
        h = h + self.answer(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return h + self.down(F.silu(self.up(norm(h) * (1 + scale2) + shift2)))


def patches(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(2, 3).reshape(n, h // 2, w // 2, 4 * c)


def pixels(x):
    n, h, w, c = x.shape
    return x.reshape(n, h, w, 2, 2, c // 4).transpose(2, 3).reshape(n, 2 * h, 2 * w, c // 4)


class UNet(nn.Module):
    def __init__(self, fine=32, coarse=128, heads=4, attention=(2, 3), thin=16, width=384, depth=1, condition=128):
        super().__init__()

        def attentive(count):
            return nn.ModuleList(AttentionBlock(coarse, heads, condition) for _ in range(count))

        self.condition = Condition(condition)
        self.into = nn.Conv2d(4, fine, 3, padding=1)
        self.down, self.places = nn.Linear(4 * fine, coarse), nn.Embedding(49, coarse)
        self.down2 = attentive(attention[0])
        self.thin, self.flat = nn.Linear(coarse, thin), nn.Linear(49 * thin, width)
        self.blocks = nn.ModuleList(Block(width, condition) for _ in range(depth))
        self.unflat, self.thick = nn.Linear(width, 49 * thin), nn.Linear(thin, coarse)
        self.up2, self.up = attentive(attention[1]), nn.Linear(coarse, 4 * fine)
        self.up1, self.out = ConvBlock(fine, condition), nn.Linear(fine, 4)
        nn.init.zeros_(self.out.weight)
        nn.init.normal_(self.places.weight, std=0.02)
        for name, value in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(value)

    def forward(self, x, t, label):
        c = self.condition(t, label)
        fine = grid(patches(x), self.into)
        coarse = self.down(patches(fine)).flatten(1, 2) + self.places.weight
        for block in self.down2:
            coarse = block(coarse, c)
        middle = self.flat(self.thin(coarse).flatten(1))
        for block in self.blocks:
            middle = block(middle, c)
        coarse = coarse + self.thick(self.unflat(middle).reshape(len(x), 49, -1))
        for block in self.up2:
            coarse = block(coarse, c)
        fine = fine + pixels(self.up(coarse).unflatten(1, (7, 7)))
        return pixels(self.out(norm(self.up1(fine, c))))

    @classmethod
    def shipped(cls):
        """With the weights that ship with the package."""
        with np.load(SHIPPED) as file:
            arrays = {name: file[name].astype(np.float32) for name in file.files if name != "about"}
        model = cls()
        state = dict(model.named_parameters())
        assert set(map(ours, state)) == set(arrays), set(map(ours, state)) ^ set(arrays)
        with torch.no_grad():
            for name, value in state.items():
                array = torch.as_tensor(arrays[ours(name)])
                if value.ndim == 4:  # (9 in, out) -> (out, in, 3, 3)
                    array = array.reshape(3, 3, -1, len(value)).permute(3, 2, 0, 1)
                elif value.ndim == 2 and not embeds(name):
                    array = array.T
                value.copy_(array)
        return model

    def packed(self):
        """Named arrays as the package stores them."""
        arrays = {}
        for name, value in self.named_parameters():
            array = value.detach()
            if array.ndim == 4:
                array = array.permute(2, 3, 1, 0).reshape(-1, len(array))
            elif array.ndim == 2 and not embeds(name):
                array = array.T
            arrays[ours(name)] = np.asarray(array, np.float16)
        return arrays


def embeds(name):
    """Whether a parameter is a table of vectors, which both packages store alike."""
    return "classes" in name or "places" in name


def ours(name):
    """Our name of torch's parameter."""
    parts = name.split(".")
    if parts[0] in ("blocks", "down2", "up2"):
        parts.insert(1, "layers")
    if parts[0] == "into" or parts[-2] in ("first", "second") and parts[0] != "condition":
        parts.insert(-1, "linear")
    if parts[-1] == "weight":
        parts[-1] = "embedding" if embeds(name) else "kernel"
    return ".".join(parts)


def train(model, images, labels, *, rate, ema=0.999, seed=0):
    """Steps of the loss with v for a target, heavier where there is much noise, one for each `next`.

    `rate` is a function of the step.

    Yields: the moving average of the model, updated in place.
    """
    draws = torch.Generator().manual_seed(seed)
    images, labels = torch.as_tensor(images), torch.as_tensor(labels).long()
    average = UNet()
    average.load_state_dict(model.state_dict())
    parameters, kept = list(model.parameters()), list(average.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1.0, betas=(0.9, 0.99), weight_decay=0.01)
    step = 0
    while True:
        chosen = torch.randint(len(images), (BATCH,), generator=draws)
        dropped = torch.rand(BATCH, generator=draws) < DROP_LABEL
        t = 1e-3 + (1 - 1e-3) * (torch.arange(BATCH) + torch.rand(BATCH, generator=draws)) / BATCH
        x0, eps = images[chosen], torch.randn(BATCH, 28, 28, 1, generator=draws)
        alpha = torch.cos(START + (0.5 * math.pi - START) * t[:, None, None, None]) / math.cos(START)
        sigma = (1 - alpha**2).sqrt()
        x, v = alpha * x0 + sigma * eps, alpha * eps - sigma * x0
        error = (model(x, t, torch.where(dropped, CLASSES, labels[chosen])) - v) ** 2
        loss = (error.mean((1, 2, 3)) * (0.5 + t)).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.param_groups[0]["lr"] = rate(step)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(kept, parameters, 1 - min(ema, (1 + step) / (10 + step)))
        step += 1
        yield average


def main(minutes, folder, rate=1.2e-3):
    from diffbook import data

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = (np.array(a) for a in data.fashion_mnist("train"))
    start, written = time.process_time(), 0
    averages = train(UNet(), images, labels, rate=lambda k: rate * min(1, 0.01 + k / 500), ema=0.9995)
    for step in itertools.count(1):
        average = next(averages)
        spent = (time.process_time() - start) / 60
        if spent >= written + 5:
            written += 5
            about = dict(step=step, cpu_minutes=round(spent, 2))
            np.savez_compressed(folder / f"torch-{written}.npz", about=json.dumps(about), **average.packed())
            print(about, flush=True)
        if spent >= minutes:
            break


if __name__ == "__main__":
    main(float(sys.argv[1]), Path(sys.argv[2]))
