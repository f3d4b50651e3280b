"""results.md, from what run.py measured: every number in the text is taken from the same run."""

import heat
import sde
import unet

COMPARED = {
    "heat:numba_rows": "numba by hand, one fused pass a step, all cores",
    "heat:numba_waves": "numba by hand, eight steps in one pass over memory, all cores",
    "heat:py_pde": "py-pde, explicit Euler, numba back end, its compiled stepper called directly",
    "heat:numpy_slices": "NumPy, slices in place",
    "heat:torch_slices": "torch on CPU, slices in place",
    "heat:stepped": "`heat.ftcs`, our own stepper",
    "sde:diffrax_unsafe": "diffrax, Euler, UnsafeBrownianPath, jit, all paths one state",
    "sde:diffrax_tree": "diffrax, Euler, VirtualBrownianTree, a tenth of the paths",
    "sde:torch_loop": "torch, a loop by hand, in place",
    "sde:torchsde_euler": "torchsde, Euler, its default Brownian motion",
    "sde:numpy_loop": "NumPy, a loop by hand, in place",
    "sde:simulated": "`simulate`",
    "unet:trained_torch": "torch, the same U-Net and the same step, eager, channels last",
}


def _times(ratio):
    return f"{ratio['median']:.3g} ({ratio['low']:.3g} to {ratio['high']:.3g}, {ratio['count']} pairs)"


def _row(claim, ratio, name, target, part):
    what = COMPARED[name] + ("" if part == "all" else f"; {part} of the steps, scaled" if "tree" not in name else "")
    met = "–" if target is None else "yes" if ratio["median"] >= target else "**no**"
    return f"| {claim} | {what} | {_times(ratio)} | {'–' if target is None else f'≥ {target:g}'} | {met} |"


def _table(result):
    heat_, sde_, unet_ = result["heat"], result["sde"], result["unet"]
    yield "| ours | compared with | times as fast: median (range) | target | met? |"
    yield "| --- | --- | --- | --- | --- |"
    plan = [
        (heat_, "jump", "`ftcs_jump`", {"heat:numba_rows": 5, "heat:numba_waves": 5, "heat:py_pde": 500}),
        (heat_, "stepped", "`ftcs`", {"heat:numpy_slices": 1, "heat:torch_slices": 1}),
        (
            sde_,
            "simulated",
            "`simulate`",
            {"sde:diffrax_unsafe": 1, "sde:diffrax_tree": 1, "sde:torch_loop": 1, "sde:torchsde_euler": 2},
        ),
        (sde_, "signs", "`weak_signs`", {"sde:simulated": 5}),
        (unet_, "trained", "`fit`, a U-Net", {"unet:trained_torch": 1}),
    ]
    for part, ours, claim, targets in plan:
        for name, ratio in part[ours].items():
            if name in COMPARED:
                yield _row(claim, ratio, name, targets.get(name), part["times"][name]["part_run"])
    first = unet_["times"]["unet:generated"]["ready_after_seconds"]
    yield (
        "| `generate`, 64 pictures, 50 calls | seconds of the first call, import and compilation included | "
        f"{first:.3g} | ≤ 30 | {'yes' if first <= 30 else '**no**'} |"
    )
    memory = sde_["memory"]
    short, long = memory["last_500"]["planned"], memory["last_5000"]["planned"]
    met = "yes" if abs(long - short) < 1 else "**no**"
    yield f'| `simulate(save="last")`, memory | 5000 steps beside 500 | {long / short:.3g} times as much | 1 | {met} |'


def _limit_of_jump(result):
    heat_ = result["heat"]
    share = heat_["jump"]["heat:transforms"]["median"]
    slow, ours = (heat_["times"][f"heat:{name}"]["seconds"]["median"] for name in ("py_pde", "jump"))
    return (
        f"A transform and its inverse, with nothing between them, take {100 * share:.0f}% of the time of `ftcs_jump` "
        f"({1e3 * ours:.3g} ms). py-pde's {heat.STEPS} steps take {slow:.3g} s, so that 500 times as fast would be "
        f"{1e3 * slow / 500:.3g} ms; the two transforms alone take about {1e3 * ours * share:.3g} ms, and are "
        f"{slow / (ours * share):.0f} times as fast as those steps. The number of steps costs `ftcs_jump` nothing: "
        "with more of them every ratio grows in proportion."
    )


def _bandwidth(result):
    """How far the stepper is from the memory: single steps read and write each cell once, 16 bytes."""
    times = result["heat"]["times"]
    least = 16e-9 * heat.CELLS**2 * heat.STEPS
    speed = {name: least / times[f"heat:{name}"]["seconds"]["median"] for name in ("stepped", "numba_rows")}
    stream = {name: 1 / times[f"heat:triad_{name}"]["seconds"]["median"] for name in ("memory", "cache")}
    return (
        "One step at a time moves at least 16 bytes a cell. By that count `ftcs` runs at "
        f"{speed['stepped']:.3g} GB/s and the numba stepper at {speed['numba_rows']:.3g} GB/s. The triad a = b + 3c, "
        f"on all cores in the same run, moves {stream['memory']:.3g} GB/s from memory and {stream['cache']:.3g} GB/s "
        "on arrays as large as the two fields of a stepper, 16 MB. So `ftcs` reaches "
        f"{100 * speed['stepped'] / stream['cache']:.0f}% of what arrays of this size allow, and "
        f"{100 * speed['stepped'] / stream['memory']:.0f}% of what memory does."
    )


def _where_time_goes(result):
    times = result["sde"]["times"]
    core = {
        name: times[f"sde:{name}"]["core_seconds"] for name in ("simulated", "random_normals", "random_words", "signs")
    }
    whole = core["simulated"]
    count = sde.PATHS * sde.STEPS
    return (
        f"A step of `simulate` takes {1e9 * whole / count:.2g} ns of one core. Its loop with nothing in it but the two "
        f"random words takes {100 * core['random_words'] / whole:.0f}% of that, with the normal numbers made of them "
        f"{100 * core['random_normals'] / whole:.0f}%; the rest is the equation. "
        f"`weak_signs`, which draws one word for 32 steps, takes {1e9 * core['signs'] / count:.2g} ns."
    )


def _limit_of_training(result):
    """Speeds from the pairs of the table: our median over the whole run is of other minutes than torch's."""
    part, pictures = result["unet"], unet.STEPS * unet.BATCH
    torch = pictures / part["times"]["unet:trained_torch"]["seconds"]["median"]
    times_as_fast, a_product = (part["trained"][f"unet:{name}"]["median"] for name in ("trained_torch", "products"))
    ours, billions = torch * times_as_fast, 3e-9 * part["multiplications"]  # the gradient costs twice the value
    return (
        f"A picture takes {1e-6 * part['multiplications']:.3g} million multiplications forward, by the definition of a "
        f"convolution, and three times as many with the gradient. Torch trains on {torch:.0f} pictures a second and we "
        f"on {times_as_fast:.3g} times as many, {ours:.0f}: {2 * billions * ours:.3g} Gflop/s by that count. That is "
        f"{100 * billions * pictures * a_product:.0f}% of what matrix products of a fitting size reach on the same "
        "cores in the same minutes. What keeps us from the limit is all that lies between the products and moves "
        "through memory."
    )


def _memory(result):
    memory = result["sde"]["memory"]
    rows = [
        ("last, 500 steps", memory["last_500"]),
        ("last, 5000 steps", memory["last_5000"]),
        ("path, 500 steps", memory["path_500"]),
    ]
    yield f"| `save`, {sde.PATHS:,} paths | XLA lays aside, result included (MB) | the process grows by (MB) |"
    yield "| --- | --- | --- |"
    for name, row in rows:
        yield f"| {name} | {row['planned']:.1f} | {row['grown']:.0f} |"


def _seconds(result):
    yield "| contender | seconds, median (range) | core seconds, least | import, compile, first call (s) | part run |"
    yield "| --- | --- | --- | --- | --- |"
    for part in ("heat", "sde", "unet"):
        for name, row in result[part]["times"].items():
            if row["seconds"] is None:
                continue
            s = row["seconds"]
            unit = " per GB" if "triad" in name else ""
            yield (
                f"| {name.replace(':', '.')} | {s['median']:.3g} ({s['low']:.3g} to {s['high']:.3g}){unit} | "
                f"{row['core_seconds']:.3g} | {row['ready_after_seconds']:.2g} | "
                f"{row['part_run'] if 'triad' not in name else '–'} |"
            )


def page(result):
    """The text of results.md."""
    facts, load = result["machine"], result["load_average"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    cache = f", last-level cache {facts['last_level_cache']}" if facts["last_level_cache"] else ""
    heat_line = f"{heat.CELLS} x {heat.CELLS} cells, periodic, float64, {heat.STEPS} steps"
    sde_line = f"{sde.PATHS:,} paths, {sde.STEPS} Euler steps, float32, last state only"
    unet_line = f"28 x 28 pictures, {unet.STEPS} steps of {unet.BATCH}, float32, moving average included"
    differ, misses = max(result["heat"]["differ"].values()), max(result["sde"]["misses"].values())
    lines = [
        "# Speed beside peers",
        "",
        "Written by `make bench`, all numbers in one run; `results.json` holds them too.",
        "",
        f"Machine: {facts['cpu']}, {facts['cores']} cores{cache}, {facts['memory_GiB']} GiB memory, {facts['system']}, "
        f"Python {facts['python']}. {versions}. Load average {load['before']} before and {load['after']} after "
        f"(the run itself keeps {facts['cores']} cores busy).",
        "",
        "Each contender runs in a process of its own and sleeps while another is timed. Ours is timed just before and "
        "just after each of theirs; a ratio is theirs over the mean of ours, and the table gives the median of these "
        "and their range. First calls, in which code is compiled, are not in the ratios. Where a peer ran a part of "
        "the steps, its time is scaled up.",
        "",
        *_table(result),
        "",
        f"- **Heat equation** ({heat_line}): all fields agree with ours to {differ:.0e} of the largest value. "
        "`ftcs_jump` does all steps in two transforms; the others step.",
        f"- **Ornstein–Uhlenbeck** ({sde_line}): mean and standard deviation of every sample lie within {misses:.1f} "
        "standard errors of the exact law of the Euler chain.",
        f"- **U-Net** ({unet_line}): with the same weights the two predict the same, to "
        f"{result['unet']['differ']:.0e} of the largest value.",
        "",
        "## What limits `ftcs_jump`",
        "",
        _limit_of_jump(result),
        "",
        "## What limits the stepper",
        "",
        _bandwidth(result),
        "",
        "## What limits `simulate`",
        "",
        _where_time_goes(result),
        "",
        "## What limits training",
        "",
        _limit_of_training(result),
        "",
        "## Memory",
        "",
        *_memory(result),
        "",
        "## All times",
        "",
        *_seconds(result),
        "",
    ]
    return "\n".join(lines)
