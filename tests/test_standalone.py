"""What Colab does: each notebook alone in an empty folder, in an environment that has jax but not this package.

nbval runs it there and compares the outputs that are stored. The numbers that its claims then measure are those of the
built book, to the bit: the same code gives the same book twice.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from chapters import chapters, claims, compile_cache, current, executed  # noqa: E402

pytestmark = pytest.mark.long

# What Colab has of the package's dependencies; pip has to find the rest.
PRESENT = "jax flax numpy optax orbax-checkpoint scipy matplotlib scikit-learn pooch tqdm pip ipykernel".split()
IMPORTS = (
    "import flax.nnx, optax, orbax.checkpoint, scipy.stats, matplotlib.pyplot, sklearn.datasets, ipykernel.kernelapp"
)
KEPT = ["jax", "jaxlib", "flax", "numpy"]
NBVAL = (
    "-q --tb=short -p no:cacheprovider -p keep_claims --nbval-lax --nbval-kernel-name=alone --nbval-cell-timeout=600"
)
# pytest with this folder's plugin; the kernel does not see the folder.
PYTEST = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
VERSIONS = (
    "import importlib.metadata, json, sys; print(json.dumps({n: importlib.metadata.version(n) for n in sys.argv[1:]}))"
)


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command[:6]))} …\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def uv(*arguments, **options):
    return run(sys.executable, "-m", "uv", *arguments, **options)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """Make a folder that all workers of this run then have in common."""
    own = tmp_path_factory.getbasetemp()
    base = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def once(name, make):
        folder, made = base / name, base / f"{name}.made"
        with open(base / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                folder.mkdir()  # fails where another worker did
                make(folder)
                made.touch()
        return folder

    return once


@pytest.fixture(scope="module")
def wheel(once):
    """The package as others would install it."""

    def make(folder):
        source = folder / "source"
        shutil.copytree(ROOT / "diffbook", source / "diffbook", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source / name)
        uv("build", "--quiet", "--wheel", "--out-dir", folder, source)

    (wheel,) = once("wheel", make).glob("*.whl")
    return wheel


def environment(folder, *packages, pins=()):
    uv("venv", "--quiet", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    uv("pip", "install", "--quiet", "--python", python, *pins, *packages)
    return python


def own(environ):
    """The variables without those of the Python that runs the tests."""
    return {key: value for key, value in environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV", "JUPYTER"))}


@pytest.fixture(scope="module")
def present(once):
    """An environment like Colab's, and never changed: each notebook gets a copy, compiled modules included."""

    def make(folder):
        pins = folder / "pins.txt"  # what the book was built with
        pins.write_text("\n".join(f"{d.name}=={d.version}" for d in distributions() if d.name != "diffbook"))
        python = environment(folder / "venv", *PRESENT, pins=["--constraints", pins])
        run(python, "-c", IMPORTS, env=own(os.environ))

    return once("present", make) / "venv"


@pytest.mark.parametrize("name", chapters())
def test_notebook_runs_alone(name, wheel, present, tmp_path):
    # Linked, not copied: pip and Python replace files, they do not write into them.
    shutil.copytree(present, tmp_path / "venv", symlinks=True, copy_function=os.link)
    python = tmp_path / "venv" / "bin" / "python"
    before = json.loads(run(python, "-c", VERSIONS, *KEPT))
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(ROOT / f"{name}.ipynb", alone / "notebook.ipynb")
    kernel = tmp_path / "jupyter" / "kernels" / "alone"
    kernel.mkdir(parents=True)
    start = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": start, "display_name": "alone", "language": "python"}))
    settings = {
        "DIFFBOOK_SOURCE": str(wheel),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        "KEEP_CLAIMS": str(tmp_path / "claims.json"),
    }
    nbval = [*NBVAL.split(), "--rootdir", alone, "notebook.ipynb"]
    settings |= compile_cache(executed(name).parent / "compiled")  # from the build: it need not be compiled twice
    run(sys.executable, "-c", PYTEST, *nbval, cwd=alone, env=own(os.environ) | settings)

    assert json.loads(run(python, "-c", VERSIONS, *KEPT)) == before
    where = "import diffbook, importlib.metadata as m; print(m.distribution('diffbook').read_text('direct_url.json'))"
    assert wheel.name in json.loads(run(python, "-c", where, cwd=alone))["url"]
    again = json.loads((tmp_path / "claims.json").read_text())
    built = list(claims(nbformat.read(current(name), 4)))
    assert {claim["name"]: claim["measured"] for claim in again} == {c["name"]: c["measured"] for c in built}


def test_oldest_versions_that_the_package_admits(wheel, tmp_path):
    """The lower bounds in pyproject.toml are real: with exactly those, pip installs nothing and the package works."""
    oldest = ["--resolution", "lowest-direct", "--only-binary", ":all:", "--requirements", ROOT / "pyproject.toml"]
    python = environment(tmp_path / "venv", pins=oldest)
    uv("pip", "install", "--quiet", "--python", python, "pip")
    bounds = dict(re.findall(r'"([\w-]+)>=([\d.]+)"', (ROOT / "pyproject.toml").read_text()))
    del bounds["setuptools"]
    have = json.loads(run(python, "-c", VERSIONS, *bounds))
    above = {name: (bounds[name], have[name]) for name in bounds if not have[name].startswith(bounds[name])}
    assert sys.version_info[:2] > (3, 11) or not above  # newer Pythons have no wheels of the oldest
    plan = tmp_path / "plan.json"
    run(python, "-m", "pip", "install", "--quiet", "--dry-run", "--report", plan, wheel)
    assert [item["metadata"]["name"] for item in json.loads(plan.read_text())["install"]] == ["diffbook"]
    uv("pip", "install", "--quiet", "--no-deps", "--python", python, wheel)
    run(python, "-c", SMOKE, cwd=tmp_path)


SMOKE = """
import jax, jax.numpy as jnp
from diffbook import claims, data, metrics, plotting
from diffbook.pde import heat
from diffbook.sde import ornstein_uhlenbeck, simulate
from diffbook.generative import forward_sde, vp_linear
u = jnp.zeros(16).at[8].set(1.0)
claims.check("mass", heat.ftcs(u, r=0.25, num_steps=10).sum(), 1.0, atol=1e-6)
ts = jnp.linspace(0.0, 1.0, 11)
for sde in (ornstein_uhlenbeck(1.0, 0.0, 1.0), forward_sde(vp_linear())):
    assert simulate(sde, jnp.zeros(8), ts, key=jax.random.key(0)).shape == (11, 8)
"""
