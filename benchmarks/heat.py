"""Contenders on the heat equation: 1024 x 1024 cells, periodic, float64, 400 explicit steps, the same field for all."""

import numpy as np
from measure import Task

CELLS, STEPS, RATE = 1024, 400, 0.2


def field():
    return np.random.default_rng(0).random((CELLS, CELLS))


def _ours(function):
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    u = jnp.asarray(field())
    return lambda steps=STEPS: function(u, r=RATE, num_steps=steps).block_until_ready()


def jump():
    from diffbook.pde.heat import ftcs_jump

    return Task(_ours(ftcs_jump), calls=5, answer=np.asarray)


def stepped():
    from diffbook.pde.heat import ftcs

    return Task(_ours(ftcs), answer=np.asarray)


def transforms():
    """A real transform and its inverse by JAX and nothing else: what `ftcs_jump` cannot do without."""
    import jax
    import jax.numpy as jnp

    there_and_back = jax.jit(lambda u: jnp.fft.irfft2(jnp.fft.rfft2(u)))
    return Task(_ours(lambda u, r, num_steps: there_and_back(u)), calls=5, answer=lambda _: None)


def exact(steps):
    """The field after so many steps, to compare the peers' with."""
    from diffbook.pde.heat import ftcs_jump

    return np.asarray(_ours(ftcs_jump)(steps))


def numba_rows():
    """By hand for this equation alone: one fused pass a step, rows shared among the cores, vectorised along a row."""
    from numba import njit, prange

    @njit(parallel=True, fastmath=True)
    def step(old, new, r):
        n, m = old.shape
        for i in prange(n):
            up = old[i - 1] if i > 0 else old[n - 1]
            down = old[i + 1] if i < n - 1 else old[0]
            here = old[i]
            out = new[i]
            out[0] = here[0] + r * (up[0] + down[0] + here[m - 1] + here[1] - 4 * here[0])
            for j in range(1, m - 1):
                out[j] = here[j] + r * (up[j] + down[j] + here[j - 1] + here[j + 1] - 4 * here[j])
            out[m - 1] = here[m - 1] + r * (up[m - 1] + down[m - 1] + here[m - 2] + here[0] - 4 * here[m - 1])

    def run():
        old, new = field_0.copy(), np.empty_like(field_0)
        for _ in range(STEPS):
            step(old, new, RATE)
            old, new = new, old
        return old

    field_0 = field()
    return Task(run)


def numba_waves():
    """The same with eight steps in one pass over memory: each level trails one row behind the one it comes from."""
    from numba import get_num_threads, njit, prange

    @njit(parallel=True, fastmath=True)
    def pass_over(old, new, r, levels, rows):
        n, m = old.shape
        for band in prange(n // rows):
            low, high = band * rows, (band + 1) * rows
            kept = np.empty((levels, 4, m))  # of each level between the first and the last, the rows still in use
            for front in range(low - levels + 1, high + levels):
                for level in range(levels):
                    row, margin = front - level, levels - 1 - level
                    if row < low - margin or row >= high + margin:
                        continue
                    if level == 0:
                        up, here, down = old[(row - 1) % n], old[row % n], old[(row + 1) % n]
                    else:
                        below = kept[level - 1]
                        up, here, down = below[(row - 1) & 3], below[row & 3], below[(row + 1) & 3]
                    out = new[row] if level == levels - 1 else kept[level, row & 3]
                    out[0] = here[0] + r * (up[0] + down[0] + here[m - 1] + here[1] - 4 * here[0])
                    for j in range(1, m - 1):
                        out[j] = here[j] + r * (up[j] + down[j] + here[j - 1] + here[j + 1] - 4 * here[j])
                    out[m - 1] = here[m - 1] + r * (up[m - 1] + down[m - 1] + here[m - 2] + here[0] - 4 * here[m - 1])

    def run():
        old, new = field_0.copy(), np.empty_like(field_0)
        for _ in range(STEPS // 8):
            pass_over(old, new, RATE, 8, rows)
            old, new = new, old
        return old

    field_0 = field()
    rows = CELLS // max(4, 2 ** (get_num_threads() - 1).bit_length())
    return Task(run)


def py_pde(steps=20):
    """py-pde's explicit Euler stepper, compiled by its numba back end; called directly, without trackers."""
    import pde

    grid = pde.CartesianGrid([[0, CELLS], [0, CELLS]], [CELLS, CELLS], periodic=True)
    state = pde.ScalarField(grid, field())
    solver = pde.EulerSolver(pde.DiffusionPDE(diffusivity=1.0), backend="numba")
    advance = solver.make_stepper(state, dt=RATE)

    def run():
        u = state.copy()
        out = advance(u, 0.0, steps * RATE)
        return getattr(out, "data", u.data)

    return Task(run, STEPS / steps)


def numpy_slices(steps=50):
    """Slices of one array with ghost cells, every temporary written in place."""

    def run():
        u, near = np.empty((CELLS + 2, CELLS + 2)), np.empty((CELLS, CELLS))
        inner = u[1:-1, 1:-1]
        inner[:] = field_0
        for _ in range(steps):
            u[0], u[-1] = u[-2], u[1]
            u[:, 0], u[:, -1] = u[:, -2], u[:, 1]
            np.add(u[:-2, 1:-1], u[2:, 1:-1], out=near)
            near += u[1:-1, :-2]
            near += u[1:-1, 2:]
            near *= RATE
            np.multiply(inner, 1 - 4 * RATE, out=inner)
            np.add(inner, near, out=inner)
        return inner.copy()

    field_0 = field()
    return Task(run, STEPS / steps)


def torch_slices(steps=50):
    """The same in torch on CPU; its conv2d is many times slower here, and torch.compile no faster."""
    import torch

    @torch.inference_mode()
    def run():
        u, near = torch.empty((CELLS + 2, CELLS + 2), dtype=torch.float64), torch.empty_like(field_0)
        inner = u[1:-1, 1:-1]
        inner.copy_(field_0)
        for _ in range(steps):
            u[0], u[-1] = u[-2], u[1]
            u[:, 0], u[:, -1] = u[:, -2], u[:, 1]
            torch.add(u[:-2, 1:-1], u[2:, 1:-1], out=near)
            near.add_(u[1:-1, :-2]).add_(u[1:-1, 2:])
            inner.mul_(1 - 4 * RATE).add_(near, alpha=RATE)
        return inner.clone()

    field_0 = torch.from_numpy(field())
    return Task(run, STEPS / steps, answer=lambda u: u.numpy())


def _triad(size, times):
    from numba import njit, prange

    @njit(parallel=True)
    def triad(a, b, c):
        for i in prange(a.size):
            a[i] = b[i] + 3.0 * c[i]

    a, b, c = np.zeros(size), np.ones(size), np.ones(size)

    def run():
        for _ in range(times):
            triad(a, b, c)

    return Task(run, 1 / (24e-9 * size * times))  # time becomes seconds per gigabyte


def triad_memory():
    """a = b + 3 c over 768 MB, which no cache holds, all cores: seconds per gigabyte read and written."""
    return _triad(32 * 2**20, 1)


def triad_cache():
    """The same over three arrays that together are as large as the two fields a stepper works on, 16 MB."""
    return _triad(2 * CELLS * CELLS // 3, 20)
