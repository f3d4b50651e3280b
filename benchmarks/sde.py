"""Speed of `diffbook.sde.simulate`, in steps of one path per second (wall clock, and per second of one core).

The core's figure is what remains to compare on a machine that is busy with something else.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

from diffbook.sde import euler_maruyama, heun, ornstein_uhlenbeck, simulate

CASES = (  # paths, steps, dtype, step, save
    (200_000, 500, "float32", euler_maruyama, "last"),
    (5_000_000, 20, "float32", euler_maruyama, "last"),
    (1, 100_000, "float32", euler_maruyama, "last"),
    (200_000, 500, "float32", heun, "last"),
    (200_000, 500, "float64", euler_maruyama, "last"),
    (20_000, 500, "float32", euler_maruyama, "path"),
)


def measure(run, repeats=7):
    """Seconds of the first call, the fewest of a later one, and the fewest of processor time."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    first, wall, busy = time.perf_counter() - start, [], []
    for _ in range(repeats):
        start, start_busy = time.perf_counter(), time.process_time()
        jax.block_until_ready(run())
        wall.append(time.perf_counter() - start)
        busy.append(time.process_time() - start_busy)
    return first, min(wall), min(busy)


def main():
    heads = "paths", "steps", "dtype", "step", "save", "first call", "steps/s", "per core"
    print("{:>9} {:>7} {:>8} {:>15} {:>5} {:>10} {:>9} {:>9}".format(*heads))
    for num_paths, num_steps, dtype, step, save in CASES:
        with jax.enable_x64(dtype == "float64"):
            x0, ts = jnp.ones(num_paths, dtype), np.linspace(0, 5, num_steps + 1)

            def run(x0=x0, ts=ts, step=step, save=save):
                sde = ornstein_uhlenbeck(1.0, 1.0, 0.3)
                return simulate(sde, x0, ts, key=jax.random.key(0), step=step, save=save)

            first, wall, busy = measure(run)
        count = num_paths * num_steps
        print(
            f"{num_paths:9d} {num_steps:7d} {dtype:>8} {step.__name__:>15} {save:>5} {first:8.2f} s "
            f"{count / wall:9.2e} {count / busy:9.2e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
