"""Measure the package beside its peers and write results.md and results.json: `make bench`.

python benchmarks/run.py [--dry]     --dry: print what would be written, and write nothing
"""

import json
import os
import platform
import re
import sys
import time
from importlib import metadata
from pathlib import Path

import heat
import numpy as np
import report
import sde
import unet
from measure import Contender, middle, race

HERE = Path(__file__).resolve().parent
PACKAGES = "jax jaxlib numpy numba py-pde torch diffrax torchsde flax optax".split()


def machine():
    """What this was measured on; nothing that names the machine."""
    cpu, memory = platform.machine(), None
    try:
        cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()).group(1).strip()
        memory = round(int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text()).group(1)) / 2**20)
    except (OSError, AttributeError):
        pass
    try:
        cache = Path("/sys/devices/system/cpu/cpu0/cache/index3/size").read_text().strip()
    except OSError:
        cache = None
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "last_level_cache": cache,
        "memory_GiB": memory,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def start(paths):
    """The contenders by name, each with its first call behind it."""
    contenders = {}
    for path in paths:
        contenders[path] = Contender(path)
        print(f"  {path:22s} ready after {contenders[path].first:5.1f} s", flush=True)
    return contenders


def same_fields(contenders):
    """The largest difference of each peer's field from ours after as many steps, in units of the largest value."""
    wrong = {}
    for name, contender in contenders.items():
        if contender.answer is not None:
            expected = heat.exact(round(heat.STEPS / contender.scale))
            wrong[name] = float(abs(contender.answer - expected).max() / abs(expected).max())
    return wrong


def same_laws(contenders):
    """By how many standard errors mean and standard deviation of each sample miss the law of the Euler chain."""
    misses = {}
    for name, contender in contenders.items():
        if contender.answer is not None:
            steps, mean, std = contender.answer
            expected, spread = sde.law(steps)
            paths = sde.PATHS if name != "sde:diffrax_tree" else sde.PATHS // 10
            error = spread / paths**0.5
            misses[name] = float(max(abs(mean - expected) / error, abs(std - spread) / error * 2**0.5))
    return misses


def summary(contenders):
    return {
        name: {
            "seconds": middle(c.walls),
            "core_seconds": min(c.busy),
            "ready_after_seconds": c.first,
            "part_run": f"1/{c.scale:g}" if c.scale > 1 else "all",
        }
        for name, c in contenders.items()
    }


def close(contenders):
    for contender in contenders.values():
        contender.close()


def measure_heat():
    print("heat equation")
    names = "jump stepped numba_rows numba_waves py_pde numpy_slices torch_slices".split()
    all_ = start(f"heat:{name}" for name in [*names, "triad_memory", "triad_cache", "transforms"])
    jump, stepped, rows, waves, pypde, numpy, torch, memory, cache, transforms = all_.values()
    differ = same_fields(all_)
    assert max(differ.values()) < 1e-12, differ
    result = {
        "jump": race(jump, [rows, waves, stepped, pypde, transforms]),
        "stepped": race(stepped, [rows, waves, numpy, torch, memory, cache]),
        "differ": differ,
        "times": summary(all_),
    }
    close(all_)
    return result


def measure_sde():
    print("Ornstein-Uhlenbeck")
    names = "simulated signs diffrax_unsafe diffrax_tree torch_loop torchsde_euler numpy_loop".split()
    all_ = start(f"sde:{name}" for name in [*names, "random_words", "random_normals"])
    ours, signs, *others = all_.values()
    misses = same_laws(all_)
    assert max(misses.values()) < 5, misses
    result = {
        "simulated": race(ours, others),
        "signs": race(signs, [ours]),
        "misses": misses,
        "times": summary(all_),
    }
    close(all_)
    cases = ("path_500", "last_500", "last_5000")
    contenders = [Contender(f"sde:memory_{case}") for case in cases]
    result["memory"] = {case: contender.answer for case, contender in zip(cases, contenders, strict=True)}
    close(dict(enumerate(contenders)))
    return result


def measure_unet():
    print("training a U-Net")
    all_ = start(f"unet:{name}" for name in "trained trained_torch generated products".split())
    ours, torch, generated, products = all_.values()
    answers = [ours.answer, torch.answer]
    differ = float(abs(answers[0] - answers[1]).max() / abs(answers[0]).max())
    assert differ < 1e-4, differ
    result = {
        "trained": race(ours, [torch], budget=600.0, rounds=7) | race(ours, [generated, products], rounds=3),
        "differ": differ,
        "multiplications": unet.multiplications(),
        "times": summary(all_),
    }
    close(all_)
    return result


def main(dry):
    begun, load = time.perf_counter(), os.getloadavg()[0]
    result = {"machine": machine(), "heat": measure_heat(), "sde": measure_sde(), "unet": measure_unet()}
    result["load_average"] = {"before": round(load, 2), "after": round(os.getloadavg()[0], 2)}
    result["seconds"] = round(time.perf_counter() - begun)
    for part in ("heat", "sde", "unet"):
        for ours in ("jump", "stepped", "simulated", "signs", "trained"):
            if ours in result[part]:
                result[part][ours] = {name: middle(values) for name, values in result[part][ours].items()}
    text = report.page(result)
    print(text)
    if not dry:
        (HERE / "results.json").write_text(json.dumps(_rounded(result), indent=1) + "\n")
        (HERE / "results.md").write_text(text)
        print(f"wrote benchmarks/results.md and results.json after {result['seconds']} s")


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float | np.floating) else value


if __name__ == "__main__":
    main("--dry" in sys.argv[1:])
