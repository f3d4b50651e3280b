"""What the build knows about chapters: which there are, where their outputs lie, and when those are out of date.

A chapter is a pair book/NN_name.md (the source) and book/NN_name.ipynb beside it. Executed notebooks lie in
_build/executed/KEY/, where KEY is made from everything that can change their outputs; _build/current/ holds the ones
that the pages are made from.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import tempfile
from functools import cache
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
CLAIM = "application/vnd.diffbook.claim+json"
# Tags that change what executing a cell does.
_TAGS = {"raises-exception", "skip-execution"}


@cache
def config():
    """_config.yml, the one place that states the repository's address."""
    return yaml.safe_load((ROOT / "_config.yml").read_text())


def docnames():
    """Every page of the table of contents, in reading order."""

    def walk(node):
        for value in node.values() if isinstance(node, dict) else node:
            if isinstance(value, (dict, list)):
                yield from walk(value)
            elif isinstance(node, dict) and value in (node.get("file"), node.get("root")):
                yield value

    return list(dict.fromkeys(walk(yaml.safe_load((ROOT / "_toc.yml").read_text()))))


def chapters():
    """Names below book/, without suffix, of the pages that hold code to execute."""
    return [doc for doc in docnames() if source(doc).exists() and "{code-cell}" in source(doc).read_text()]


def source(chapter):
    return ROOT / f"{chapter}.md"


def notebook(chapter):
    return ROOT / f"{chapter}.ipynb"


@cache
def _surroundings():
    """Hash of the package, of the versions really installed and of the Python that runs them."""
    digest = hashlib.sha256(platform.python_version().encode())
    for path in sorted((ROOT / "diffbook").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    pinned = re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    for name in sorted(set(pinned)):
        try:
            digest.update(f"{name}=={importlib.metadata.version(name)}\n".encode())
        except importlib.metadata.PackageNotFoundError:
            continue  # pinned for another system
    return digest.hexdigest()


def key(chapter):
    """What the outputs of a chapter depend on: its code, in order, and what it runs in."""
    digest = hashlib.sha256(_surroundings().encode())
    for cell in code_cells(nbformat.read(notebook(chapter), 4)):
        digest.update(json.dumps([cell.source, sorted(_TAGS & set(cell.metadata.get("tags", [])))]).encode())
    return digest.hexdigest()[:16]


def code_cells(nb):
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def executed(chapter):
    """Where the executed notebook of a chapter, as it is now, lies or will lie."""
    return BUILD / "executed" / key(chapter) / f"{Path(chapter).name}.ipynb"


def current(chapter):
    return BUILD / "current" / f"{Path(chapter).name}.ipynb"


def compile_cache(folder):
    """Settings by which JAX keeps what it compiles in a folder, however small, and takes it from there."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def claims(nb):
    """The records of the claims that an executed notebook made, in order."""
    for cell in code_cells(nb):
        for output in cell.outputs:
            if CLAIM in output.get("data", {}):
                yield output.data[CLAIM]


def write(path, text):
    """Write a text file so that it is there whole or not at all; leave it untouched if it already says the same."""
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    (BUILD / "tmp").mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=BUILD / "tmp")
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
    return True
