"""Execute one notebook in a process of its own, so that its time and its peak memory are its own.

    python tools/run_chapter.py NOTEBOOK RESULT

Says on stdout, one JSON object a line, which cell runs and how it ended. Ends, kernel included, when stdin closes: a
build that was killed leaves nothing running behind.
"""

import importlib.metadata
import json
import os
import platform
import re
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import psutil
from chapters import BUILD, code_cells, compile_cache, write
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

TIMEOUT = 600  # seconds a cell
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def say(**message):
    print(json.dumps(message), flush=True)


def end_with_parent():
    """Wait for stdin to close, then end the kernel and this process."""
    sys.stdin.buffer.read()
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)


def kernel_environment(folder):
    """The environment that every build runs its kernels in, whatever the caller's shell sets."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_", "MPL", "JUPYTER_"))
    }
    for name in ("runtime", "config", "ipython"):
        (folder / name).mkdir()
    return kept | {
        "PYTHONHASHSEED": "0",
        "JAX_PLATFORMS": "cpu",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "IPYTHONDIR": str(folder / "ipython"),
    }


def execute(nb, folder, cache):
    """Run all cells in an empty folder; return the seconds it took, from starting the kernel to the last cell."""
    (folder / "empty").mkdir()
    total = len(code_cells(nb))
    seen = []

    def starting(cell, cell_index):
        if cell.cell_type == "code":
            seen.append(cell)
            say(cell=len(seen), of=total)

    client = NotebookClient(
        nb,
        timeout=TIMEOUT,
        record_timing=False,
        on_cell_start=starting,
        resources={"metadata": {"path": str(folder / "empty")}},
    )
    start = time.perf_counter()
    try:
        client.execute(env=kernel_environment(folder) | compile_cache(cache))
    except CellExecutionError as error:
        traceback = "\n".join("\n".join(o.traceback[2:]) for o in seen[-1].outputs if o.output_type == "error")
        failed = f"{error.ename}: {error.evalue}".splitlines()[0]
        say(failed=failed, source=seen[-1].source, traceback=_ANSI.sub("", traceback))
        sys.exit(1)
    except CellTimeoutError:
        say(failed=f"still running after {TIMEOUT} s", source=seen[-1].source)
        sys.exit(1)
    except DeadKernelError:
        say(failed="the kernel died (out of memory?)", source=seen[-1].source if seen else "")
        sys.exit(1)
    return time.perf_counter() - start


def machine():
    """The machine in words, without names that say whose it is."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "flax", "numpy"))
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB of memory"
    system = f"{platform.system()} on {platform.machine()}"
    return f"{cores} cores, {memory}, {system}, Python {platform.python_version()}, {versions}"


def main(path, result):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the build, whose end ends this process
    threading.Thread(target=end_with_parent, daemon=True).start()
    nb = nbformat.read(path, 4)
    (BUILD / "tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD / "tmp") as folder:
        # What is compiled is kept beside the result, for the test that runs the same code again.
        seconds = execute(nb, Path(folder), Path(result).parent / "compiled")
    # The kernel is the one child that has been waited for: its peak is the children's peak.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    nb.metadata["diffbook"] = {"seconds": round(seconds, 1), "peak_bytes": peak, "machine": machine()}
    write(Path(result), nbformat.writes(nb) + "\n")
    say(done=nb.metadata["diffbook"])


if __name__ == "__main__":
    main(*sys.argv[1:])
