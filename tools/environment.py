"""Make .venv hold exactly what requirements.txt pins, and this package; do nothing if it does already.

Run by the Makefile with any Python >= 3.11, so only the standard library is used here. A file `.venv/ready` names what
was installed; `.venv/installing` stands while an installation is under way, so one that was killed is started afresh.

    python3 tools/environment.py            the pinned versions
    python3 tools/environment.py jax flax   the same, then the newest jax and flax
"""

import fcntl
import hashlib
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"


def wanted(newest):
    """What the environment is made from, as one line."""
    digest = hashlib.sha256()
    for name in ("requirements.txt", "pyproject.toml", "tools/environment.py"):
        digest.update((ROOT / name).read_bytes())
    return f"{digest.hexdigest()[:16]} {sys.version_info[0]}.{sys.version_info[1]} {ROOT} {' '.join(newest)}".strip()


def works():
    """Whether the environment's Python starts and nothing was left half-done in it."""
    if (VENV / "installing").exists() or not PYTHON.exists():
        return False
    version = "import sys, pip; print(sys.version_info[:2])"
    answer = subprocess.run([PYTHON, "-c", version], capture_output=True, text=True)
    return answer.stdout.strip() == str(tuple(sys.version_info[:2]))


def install(newest):
    if not works():
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV])
        if made.returncode:
            sys.exit("python3 -m venv failed; on Debian and Ubuntu it needs the package python3-venv")
    (VENV / "ready").unlink(missing_ok=True)
    (VENV / "installing").touch()
    uv = re.search(r"^uv==\S+", (ROOT / "requirements.txt").read_text(), re.MULTILINE).group()
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([PYTHON, "-m", "pip", "install", *quiet, uv], check=True)
    uv_install = [PYTHON, "-m", "uv", "pip", "install", "--quiet", "--python", PYTHON]
    subprocess.run([*uv_install, "--requirements", ROOT / "requirements.txt"], check=True)
    if newest:
        subprocess.run([*uv_install, "--upgrade", *newest], check=True)
    subprocess.run([*uv_install, "--no-deps", "--editable", ROOT], check=True)
    (VENV / "installing").unlink()


def main(newest):
    if sys.version_info < (3, 11):  # noqa: UP036 - whatever python3 is, it gets here
        sys.exit(f"the book needs Python 3.11 or newer, this is {sys.version.split()[0]}; try make PYTHON=python3.12 …")
    ready = VENV / "ready"
    VENV.mkdir(exist_ok=True)
    with open(ROOT / ".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second make waits here and then finds the work done
        if ready.exists() and ready.read_text() == wanted(newest) and PYTHON.exists():
            return
        start = time.monotonic()
        print("environment: installing what requirements.txt pins into .venv", flush=True)
        try:
            install(newest)
        except subprocess.CalledProcessError as error:
            sys.exit(f"environment: {' '.join(map(str, error.cmd))} failed; the next make starts afresh")
        ready.write_text(wanted(newest))
        print(f"environment: ready after {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
