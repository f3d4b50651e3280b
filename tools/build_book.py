"""Build the book: pairs in step, changed chapters executed in parallel, pages made with every warning fatal.

    python tools/build_book.py [--notebooks [--record=missing|all]]

Safe to kill at any moment and to run twice at once. Whatever is kept between builds is either written in one atomic
step or, like Sphinx's own files, trusted only while `_build/built` stands; that file is removed before Sphinx starts
and comes back, with a hash of what shapes every page, after it has succeeded.
"""

import argparse
import fcntl
import hashlib
import json
import math
import re
import shutil
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import chapters as book
import nbformat
import pairs
from execution import execute, say

HTML, DOCTREES, BUILT = book.BUILD / "html", book.BUILD / ".doctrees", book.BUILD / "built"


class BuildError(Exception):
    """The book cannot be built; the message says which chapter and why."""


@contextmanager
def alone():
    """Hold the build folder; a second build waits for the first."""
    book.BUILD.mkdir(exist_ok=True)
    with open(book.ROOT / ".build.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("book: another build is at work here; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(book.BUILD / "tmp", ignore_errors=True)  # left by a build that was killed
        yield


def run_chapters():
    """Execute what changed and lay the outputs of every chapter where the pages take them from."""
    names = book.chapters()
    # Longest first, so that short ones fill the other process: as earlier builds tell, else the last ones, which train.
    todo = [name for name in reversed(names) if not book.executed(name).exists()]
    todo.sort(key=earlier_seconds, reverse=True)
    say(f"book: {len(names)} chapters, {len(todo)} to execute")
    failures = execute(todo) if todo else []
    if failures:
        raise BuildError("\n\n".join(failures))
    for name in names:
        nb = nbformat.read(book.executed(name), 4)
        nb.metadata["diffbook"]["key"] = book.key(name)
        book.write(book.current(name), nbformat.writes(nb) + "\n")
    prune(names)
    return names


def earlier_seconds(name):
    path = book.current(name)
    return nbformat.read(path, 4).metadata.diffbook.seconds if path.exists() else math.inf


def prune(names):
    """Forget executed notebooks that no recent build used."""
    used = {book.executed(name).parent for name in names}
    for folder in used:
        folder.touch()
    rest = [folder for folder in (book.BUILD / "executed").iterdir() if folder not in used]
    for folder in sorted(rest, key=lambda folder: folder.stat().st_mtime)[: -4 * len(names)]:
        shutil.rmtree(folder, ignore_errors=True)
    for path in (book.BUILD / "current").iterdir():
        if path.stem not in {Path(name).name for name in names}:
            path.unlink()


def write_tables(names):
    """Collect the claims and the run times of the executed notebooks for the pages that list them."""
    claims, runs, machine = [], [], ""
    for name in names:
        nb = nbformat.read(book.current(name), 4)
        title = re.search(r"^# (.+)$", book.source(name).read_text(), re.MULTILINE).group(1)
        claims += [{"chapter": name, "title": title, **record} for record in book.claims(nb)]
        measured = nb.metadata["diffbook"]
        runs.append(
            {"chapter": name, "title": title, "seconds": measured["seconds"], "peak_bytes": measured["peak_bytes"]}
        )
        machine = measured["machine"]
    twice = [name for name, count in Counter(claim["name"] for claim in claims).items() if count > 1]
    if twice:
        raise BuildError(f"a claim's name stands once in the book, these stand more often: {', '.join(twice)}")
    book.write(book.BUILD / "claims.json", json.dumps(claims, indent=1) + "\n")
    book.write(book.BUILD / "runtime.json", json.dumps({"machine": machine, "chapters": runs}, indent=1) + "\n")
    return len(claims)


def site_key():
    """Hash of what shapes every page; Sphinx alone would not notice a change of these."""
    digest = hashlib.sha256()
    roots = ["_config.yml", "_toc.yml", "_ext", "_templates", "tools", "vendor", "requirements.txt"]
    for root in roots:
        path = book.ROOT / root
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(file.relative_to(book.ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def make_pages():
    """Run Jupyter Book: nit-picky, and every warning makes the build fail."""
    from jupyter_book.sphinx import build_sphinx  # here, since it is slow to import

    if not BUILT.exists() or BUILT.read_text() != site_key():
        BUILT.unlink(missing_ok=True)
        for folder in (HTML, DOCTREES):
            shutil.rmtree(folder, ignore_errors=True)
    BUILT.unlink(missing_ok=True)
    say("book: making the pages")
    status = build_sphinx(
        book.ROOT,
        HTML,
        noconfig=True,
        path_config=book.ROOT / "_config.yml",
        confoverrides={
            "external_toc_path": (book.ROOT / "_toc.yml").as_posix(),
            "latex_individualpages": False,
            "nitpicky": True,
        },
        doctreedir=DOCTREES,
        warningiserror=True,
        keep_going=True,
        quiet=True,
    )
    if status != 0:
        raise BuildError("the pages have the warnings above; each counts as an error")
    book.write(BUILT, site_key())


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument(
        "--notebooks", action="store_true", help="bring the pairs in step and store checked outputs, no pages"
    )
    options.add_argument(
        "--record", choices=["missing", "all"], default="missing", help="which checked outputs to store"
    )
    options = options.parse_args()
    start = time.monotonic()
    with alone():
        for name in pairs.refresh():
            say(f"book: {name}.ipynb brought in step with {name}.md")
        try:
            names = run_chapters()
            if options.notebooks:
                changed = [name for name in names if pairs.record_outputs(name, options.record)]
                say(f"notebooks: in step; checked outputs stored for {', '.join(changed) or 'none, all were there'}")
                return
            count = write_tables(names)
            make_pages()
        except BuildError as error:
            sys.exit(f"\nbook: NOT built.\n\n{error}")
    say(f"book: {count} claims hold; built in {time.monotonic() - start:.0f} s\nbook: {HTML / 'index.html'}")


if __name__ == "__main__":
    main()
