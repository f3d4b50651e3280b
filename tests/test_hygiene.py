"""What every file of the repository has to keep to."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LISTED = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split("\0")
FILES = [ROOT / name for name in LISTED if name and (ROOT / name).is_file()]
TEXTS = [
    path for path in FILES if path.suffix not in {".woff", ".woff2", ".png", ".npz"} and "vendor" not in path.parts
]
# Spelt in pieces, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile("/(" + "|".join(["wo" + "rk", "ro" + "ot", "tm" + "p", "ho" + "me", "Us" + "ers"]) + r")/")
REGISTRY = re.compile(
    r"https?://[^ )\"']*(" + "|".join(["regi" + "stry", "files.python" + "hosted", "py" + "pi"]) + ")"
)
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error"]) + r")\b")


def found(pattern):
    for path in TEXTS:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if pattern.search(line):
                yield f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY, UNFINISHED], ids=["paths", "registries", "unfinished"])
def test_nothing_that_belongs_elsewhere(pattern):
    assert list(found(pattern)) == []


def test_no_large_files():
    weights = ROOT / "diffbook" / "generative" / "weights"
    assert [path.name for path in FILES if path.stat().st_size > 2_000_000 and path.parent != weights] == []
    assert sum(path.stat().st_size for path in FILES if path.parent == weights) < 5_000_000


def test_notebooks_hold_no_images():
    for path in FILES:
        if path.suffix == ".ipynb":
            for cell in json.loads(path.read_text())["cells"]:
                mimes = {mime for output in cell.get("outputs", []) for mime in output.get("data", {})}
                assert not [mime for mime in mimes if mime.startswith("image/")], path.name


def test_style():
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_shell_scripts_parse():
    scripts = [path for path in FILES if path.read_bytes().startswith((b"#!/usr/bin/env bash", b"#!/bin/"))]
    assert ROOT / ".ci" / "run" in scripts
    for path in scripts:
        done = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_python_files_stay_short():
    lengths = {path: len(path.read_text().splitlines()) for path in FILES if path.suffix == ".py"}
    assert {path.name: count for path, count in lengths.items() if count > 250} == {}


def test_every_module_has_its_tests():
    modules = [
        path.stem.lstrip("_") for path in FILES if path.is_relative_to(ROOT / "diffbook") and path.suffix == ".py"
    ]
    tests = {path.stem for path in (ROOT / "tests").glob("test_*.py")}
    assert [name for name in modules if name != "init__" and f"test_{name}" not in tests] == []


def test_pins_satisfy_what_is_asked_for():
    pins = dict(re.findall(r"^([\w.-]+)==([^ \n]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    pins = {name.lower(): version for name, version in pins.items()}
    asked = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.in").read_text(), re.MULTILINE)
    assert (
        asked
        and {
            n: v for n, v in asked if pins.get(n.lower().replace("_", "-").replace(".", "-"), pins.get(n.lower())) != v
        }
        == {}
    )


def test_vendored_files_are_unchanged():
    for sums in (ROOT / "vendor").glob("*/SHA256SUMS"):
        import hashlib

        listed = dict(reversed(line.split()) for line in sums.read_text().splitlines())
        there = {f"./{path.relative_to(sums.parent).as_posix()}" for path in sums.parent.rglob("*") if path.is_file()}
        assert there == listed.keys() | {"./SHA256SUMS", "./README.md"}
        for name, digest in listed.items():
            assert hashlib.sha256((sums.parent / name).read_bytes()).hexdigest() == digest, name
