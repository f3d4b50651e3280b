"""Speed of `diffbook.sde.weak_signs` beside `simulate`: Ornstein-Uhlenbeck, 200,000 paths, 500 Euler steps, float32.

Both in steps of one path per second of wall clock and of one core. The two are timed in turn, so that whatever else the
machine does falls on both.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

from diffbook.sde import ornstein_uhlenbeck, simulate, weak_signs

PATHS, STEPS, ROUNDS = 200_000, 500, 9


def seconds(run):
    start, busy = time.perf_counter(), time.process_time()
    jax.block_until_ready(run())
    return time.perf_counter() - start, time.process_time() - busy


def main():
    sde, x0, ts, key = (
        ornstein_uhlenbeck(1.0, 1.0, 0.3),
        jnp.ones(PATHS),
        np.linspace(0, 5, STEPS + 1),
        jax.random.key(0),
    )
    runs = {
        "simulate": lambda: simulate(sde, x0, ts, key=key, save="last"),
        "weak_signs": lambda: weak_signs(sde, x0, ts, key=key),
    }
    for name, run in runs.items():
        print(f"{name:11s} first call {seconds(run)[0]:6.2f} s")
    times = np.array([[seconds(run) for run in runs.values()] for _ in range(ROUNDS)]).min(axis=0)
    for name, (wall, busy) in zip(runs, times, strict=True):
        print(f"{name:11s} {PATHS * STEPS / wall:9.2e} steps/s {PATHS * STEPS / busy:9.2e} per core")
    print("ratio       {:9.2f}         {:9.2f}".format(*(times[0] / times[1])))


if __name__ == "__main__":
    main()
