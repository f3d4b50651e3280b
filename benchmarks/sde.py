"""Contenders on dX = theta (mu - X) dt + sigma dW: 200,000 paths, 500 Euler steps, float32, the last state asked for.

Each answers with (steps taken, mean, standard deviation), to be held against the exact law of the Euler chain.
"""

import math

import numpy as np
from measure import Task, peak_megabytes

PATHS, STEPS, END = 200_000, 500, 5.0
THETA, MU, SIGMA = 1.0, 1.0, 0.3
DT = END / STEPS


def law(steps):
    """Mean and standard deviation after so many Euler steps from 0."""
    kept = 1 - THETA * DT
    return MU * (1 - kept**steps), SIGMA * math.sqrt(DT * (1 - kept ** (2 * steps)) / (1 - kept**2))


def _task(run, *, steps=STEPS, scale=None, calls=1):
    def answer(x):
        x = np.asarray(x, np.float64)
        return steps, x.mean(), x.std()

    return Task(run, STEPS / steps if scale is None else scale, calls, answer)


def _ours():
    import jax
    import jax.numpy as jnp

    from diffbook.sde.processes import ornstein_uhlenbeck

    return ornstein_uhlenbeck(THETA, MU, SIGMA), jnp.zeros(PATHS), np.linspace(0, END, STEPS + 1), jax.random.key(0)


def simulated():
    from diffbook.sde.integrate import simulate

    sde, x0, ts, key = _ours()
    return _task(lambda: simulate(sde, x0, ts, key=key, save="last").block_until_ready())


def signs():
    from diffbook.sde.signs import weak_signs

    sde, x0, ts, key = _ours()
    return _task(lambda: weak_signs(sde, x0, ts, key=key).block_until_ready(), calls=3)


def _only(draw):
    """`simulate`'s loop with nothing in it but what `draw` does, added up: what that costs alone."""
    import jax
    import jax.numpy as jnp

    from diffbook.sde.noise import places, words_of

    @jax.jit
    def run(key):
        words, where = words_of(key), places((PATHS,))
        steps = jnp.arange(STEPS, dtype=jnp.uint32)
        return jax.lax.scan(lambda x, k: (x + draw(words, (where, k)), None), jnp.zeros(PATHS), steps)[0]

    return Task(lambda: run(jax.random.key(0)).block_until_ready(), answer=lambda _: None)


def random_words():
    """The two random words a normal number is made of, and no more."""
    import jax.numpy as jnp

    from diffbook.sde.noise import threefry2x32

    def draw(words, counter):
        a, b = threefry2x32(words, counter)
        return (a ^ b).astype(jnp.int32).astype(jnp.float32)

    return _only(draw)


def random_normals():
    """The normal numbers, summed, and no equation."""
    import jax.numpy as jnp

    from diffbook.sde.noise import normal

    return _only(lambda words, counter: normal(words, counter[1], (PATHS,), jnp.float32))


def _diffrax(path, key, paths=PATHS):
    import diffrax
    import jax
    import jax.numpy as jnp
    import lineax

    def solve(y0, key):
        if path == "unsafe":
            motion = diffrax.UnsafeBrownianPath(shape=y0.shape, key=key)
        else:
            motion = diffrax.VirtualBrownianTree(0.0, END, tol=DT / 2, shape=y0.shape, key=key)

        def diffusion(t, y, args):
            return lineax.DiagonalLinearOperator(jnp.full(y.shape, SIGMA))

        drift = diffrax.ODETerm(lambda t, y, args: THETA * (MU - y))
        terms = diffrax.MultiTerm(drift, diffrax.ControlTerm(diffusion, motion))
        how = {"max_steps": STEPS + 1, "adjoint": diffrax.ForwardMode()}  # the only way for UnsafeBrownianPath
        return diffrax.diffeqsolve(terms, diffrax.Euler(), 0.0, END, DT, y0, **how).ys[0]

    @jax.jit
    def run(key):
        return solve(jnp.zeros(paths), key)

    return _task(lambda: run(key).block_until_ready(), scale=PATHS / paths)


def diffrax_unsafe():
    """UnsafeBrownianPath, all paths one state: diffrax's fastest. jax.vmap over paths or an "rbg" key take longer."""
    import jax

    return _diffrax("unsafe", jax.random.key(0))


def diffrax_tree():
    """VirtualBrownianTree, a tenth of the paths."""
    import jax

    return _diffrax("tree", jax.random.key(0), paths=PATHS // 10)


def torch_loop(steps=100):
    """A loop by hand, every operation in place."""
    import torch

    torch.manual_seed(0)

    @torch.inference_mode()
    def run():
        x, z = torch.zeros(PATHS), torch.empty(PATHS)
        for _ in range(steps):
            z.normal_()
            x.mul_(1 - THETA * DT).add_(THETA * MU * DT).add_(z, alpha=SIGMA * DT**0.5)
        return x

    return _task(run, steps=steps)


def torchsde_euler(steps=50):
    """torchsde.sdeint, method "euler", its default Brownian motion."""
    import torch
    import torchsde

    class Equation:
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, y):
            return THETA * (MU - y)

        def g(self, t, y):
            return torch.full_like(y, SIGMA)

    torch.manual_seed(0)
    x0, ts = torch.zeros(PATHS, 1), torch.tensor([0.0, steps * DT])

    @torch.inference_mode()
    def run():
        return torchsde.sdeint(Equation(), x0, ts, method="euler", dt=DT)[-1]

    return _task(run, steps=steps)


def numpy_loop(steps=100):
    """A loop by hand in NumPy, float32 normals drawn into an array that is used again."""
    random = np.random.default_rng(0)
    f = np.float32

    def run():
        x, z = np.zeros(PATHS, f), np.empty(PATHS, f)
        for _ in range(steps):
            random.standard_normal(out=z, dtype=f)
            z *= f(SIGMA * DT**0.5)
            x *= f(1 - THETA * DT)
            x += f(THETA * MU * DT)
            x += z
        return x

    return _task(run, steps=steps)


def _memory(steps, save):
    """Megabytes: what XLA lays aside for `simulate`, its result included, and how much the process grew in the run."""
    import jax

    from diffbook.sde.integrate import simulate

    sde, x0, _, key = _ours()
    ts = np.linspace(0, END, steps + 1)
    compiled = jax.jit(lambda x0: simulate(sde, x0, ts, key=key, save=save)).lower(x0).compile()
    plan, before = compiled.memory_analysis(), peak_megabytes()
    planned = (plan.temp_size_in_bytes + plan.output_size_in_bytes) / 2**20
    return Task(
        lambda: compiled(x0).block_until_ready(),
        answer=lambda _: {"planned": planned, "grown": peak_megabytes() - before},
    )


def memory_path_500():
    return _memory(500, "path")


def memory_last_500():
    return _memory(500, "last")


def memory_last_5000():
    return _memory(5000, "last")
