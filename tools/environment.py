"""Make .venv hold exactly what requirements.txt pins, and this package; do nothing if it does already.

Run by the Makefile with any Python >= 3.11, so only the standard library is used here. A file `.venv/ready` names what
was installed; `.venv/installing` stands while an installation is under way, so one that was killed is started afresh.
What it had started may outlive it, so that holds the lock too: it is handed down as standard input.

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


def run(*command, lock, check=True):
    return subprocess.run(command, stdin=lock, check=check)


def works():
    """Whether the environment's Python starts and nothing was left half-done in it."""
    if (VENV / "installing").exists() or not PYTHON.exists():
        return False
    version = "import sys, pip; print(sys.version_info[:2])"
    answer = subprocess.run([PYTHON, "-c", version], capture_output=True, text=True)
    return answer.stdout.strip() == str(tuple(sys.version_info[:2]))


def install(newest, lock):
    if not works():
        if run(sys.executable, "-m", "venv", "--clear", VENV, lock=lock, check=False).returncode:
            sys.exit("python3 -m venv failed; on Debian and Ubuntu it needs the package python3-venv")
    (VENV / "ready").unlink(missing_ok=True)
    (VENV / "installing").touch()
    uv = re.search(r"^uv==\S+", (ROOT / "requirements.txt").read_text(), re.MULTILINE).group()
    quiet = ["--quiet", "--disable-pip-version-check"]
    run(PYTHON, "-m", "pip", "install", *quiet, uv, lock=lock)
    uv_install = [PYTHON, "-m", "uv", "pip", "install", "--quiet", "--python", PYTHON]
    run(*uv_install, "--requirements", ROOT / "requirements.txt", lock=lock)
    if newest:
        run(*uv_install, "--upgrade", *newest, lock=lock)
    run(*uv_install, "--no-deps", "--editable", ROOT, lock=lock)
    (VENV / "installing").unlink()


def main(newest):
    if sys.version_info < (3, 11):  # noqa: UP036 - whatever python3 is, it gets here
        sys.exit(f"the book needs Python 3.11 or newer, this is {sys.version.split()[0]}; try make PYTHON=python3.12 …")
    ready = VENV / "ready"
    VENV.mkdir(exist_ok=True)
    with open(ROOT / ".venv.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("environment: another make is at work on .venv; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if ready.exists() and ready.read_text() == wanted(newest) and PYTHON.exists():
            return
        start = time.monotonic()
        print("environment: installing what requirements.txt pins into .venv", flush=True)
        try:
            install(newest, lock)
        except subprocess.CalledProcessError as error:
            sys.exit(f"environment: {' '.join(map(str, error.cmd))} failed; the next make starts afresh")
        ready.write_text(wanted(newest))
        print(f"environment: ready after {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
