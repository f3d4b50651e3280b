"""Strict JAX for every test: no silent broadcasting, eight virtual devices, shapes and types enforced.

Most of the time goes into compiling many small programs, so they are compiled without the slow optimisations: the
chapters run them with all. Tests that compare the roundings of two programs are marked `bits` and get what users get.
"""

import json
import os
import tempfile
from pathlib import Path

import jax
import pytest
from jaxtyping import install_import_hook
from xdist.scheduler import LoadFileScheduling

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_disable_most_optimizations", True)

install_import_hook("diffbook", "beartype.beartype")

# What one worker or child process has compiled, the others take from there; gone with the run that made it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    COMPILED = tempfile.TemporaryDirectory(prefix="compiled-")
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": COMPILED.name,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


# The older code generator for loops takes half as long. There may come a JAX without it, or without this way to ask for
# it, which is no public one: options for whatever is compiled from here on. Then the tests only take longer.
OLDER = "xla_cpu_use_fusion_emitters"
try:
    from jax._src import compiler

    options_for_all = compiler.get_compile_options
    jax.jit(lambda x: x, compiler_options={OLDER: False})(0.0)
except (ImportError, AttributeError, jax.errors.JaxRuntimeError):
    OLDER = None


def quickly(options):
    """The options for the compiler, with the older code generator in programs that get few optimisations."""

    def chosen(*args, **kwargs):
        made = options(*args, **kwargs)
        if jax.config.read("jax_disable_most_optimizations"):
            made.env_option_overrides = [*made.env_option_overrides, (OLDER, False)]
        return made

    return chosen


if OLDER:
    compiler.get_compile_options = quickly(options_for_all)


@pytest.fixture(scope="session")
def quick():
    """The environment of a child process that is to compile like the tests."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --{OLDER}=false".strip() if OLDER else os.environ.get("XLA_FLAGS", "")
    return os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "XLA_FLAGS": flags}


def pytest_runtest_setup(item):
    quick = item.get_closest_marker("bits") is None
    if jax.config.read("jax_disable_most_optimizations") != quick:
        jax.config.update("jax_disable_most_optimizations", quick)
        jax.clear_caches()


class Scheduling(LoadFileScheduling):
    """A file stays with one worker, for what it compiles. But notebooks are processes of their own and go one by one,
    and of the site the pages and the players, each in a browser."""

    def _split_scope(self, nodeid):
        file, _, test = nodeid.partition("::")
        if file.endswith("test_standalone.py"):
            return nodeid
        if file.endswith("test_site.py"):
            return f"{file} {test.partition('[')[0]}"
        return file


def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log) if config.option.dist == "loadfile" else None


def pytest_collection_modifyitems(items):
    """What takes longest first, so that short files fill the gaps between the workers at the end: the site, which often
    waits for the browser, then the notebooks, as the build has timed them, then files with long tests."""
    timed = Path(__file__).resolve().parents[1] / "_build" / "runtime.json"
    chapters = json.loads(timed.read_text())["chapters"] if timed.exists() else []
    seconds = {f"test_notebook_runs_alone[{run['chapter']}]": run["seconds"] for run in chapters}
    first = ["test_site.py", "test_standalone.py"]
    long = {item.path for item in items if item.get_closest_marker("long")}

    def order(item):
        place = first.index(item.path.name) if item.path.name in first else len(first)
        return place, -seconds.get(item.name, 0), item.path not in long

    items.sort(key=order)
