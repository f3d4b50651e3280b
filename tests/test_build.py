"""The build itself, on a book of two small chapters: what it keeps, what stops it, and that killing it does no harm."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAD = """---
jupytext:
  formats: ipynb,md:myst
  text_representation:
    extension: .md
    format_name: myst
    format_version: 0.13
    jupytext_version: 1.19.6
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# Chapter {name}

```{{code-cell}} ipython3
:tags: [remove-cell]

DIFFBOOK_SOURCE = "is rewritten"
```

```{{code-cell}} ipython3
import numpy as np

from diffbook import claims

claims.check("sum-{name}", np.arange(5).sum(), {total}, atol=0, against="counting")
```

```{{code-cell}} ipython3
:tags: [nbval-check-output]

6 * 7
```
"""
TOC = "format: jb-book\nroot: book/index\nchapters:\n" + "".join(
    f"  - file: book/{name}\n" for name in ("01_a", "02_b", "claims", "runtime")
)

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A small book made with the same tools."""
    root = tmp_path_factory.mktemp("project")
    for name in ("tools", "_ext", "_templates", "vendor"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("_config.yml", "requirements.txt"):
        shutil.copy(ROOT / name, root / name)
    (root / "diffbook").mkdir()
    (root / "diffbook" / "__init__.py").write_text("")
    (root / "_toc.yml").write_text(TOC)
    (root / "book").mkdir()
    for name in ("01_a", "02_b"):
        (root / "book" / f"{name}.md").write_text(HEAD.format(name=name[-1], total=10))
    (root / "book" / "index.md").write_text(
        "# Small book\n\nIt takes {runtime}`02_b`, see [a](01_a.md) and {claim}`sum-b`.\n"
    )
    (root / "book" / "claims.md").write_text("# Claims\n\n```{claims-table}\n```\n")
    (root / "book" / "runtime.md").write_text("# Time\n\n```{runtime-table}\n```\n")
    (root / "book" / "references.bib").write_text("")
    return root


def start(project, *options):
    command = [sys.executable, project / "tools" / "build_book.py", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def build(project, *options):
    process = start(project, *options)
    said = process.communicate(timeout=300)[0]
    return process.returncode, said


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def is_complete(project):
    claims = json.loads((project / "_build" / "claims.json").read_text())
    assert [(claim["name"], claim["measured"]) for claim in claims] == [("sum-a", 10), ("sum-b", 10)]
    runs = json.loads((project / "_build" / "runtime.json").read_text())["chapters"]
    assert all(run["seconds"] > 0 and run["peak_bytes"] > 2**24 for run in runs) and len(runs) == 2
    html = project / "_build" / "html" / "book"
    assert all('id="claim-sum-' in (html / f"{name}.html").read_text() for name in ("01_a", "02_b"))
    assert all("02_b.html#claim-sum-b" in (html / f"{name}.html").read_text() for name in ("claims", "index"))
    return True


def test_killed_at_random_moments(project):
    """Kill it early, late and in between; nothing keeps running, and the next build succeeds."""
    moments = random.Random(0)
    for longest in (2, 5, 8):
        process = start(project)
        time.sleep(moments.uniform(0.3, longest))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        deadline = time.monotonic() + 10
        while left := [
            p for p in psutil.process_iter(["cmdline"]) if str(project) in " ".join(p.info["cmdline"] or [])
        ]:
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
    code, said = build(project)
    assert code == 0, said
    assert is_complete(project)
    assert str(project / "_build" / "html" / "index.html") in said


def test_unchanged_rebuild_executes_nothing(project):
    pages = {path: path.stat().st_mtime_ns for path in (project / "_build" / "html" / "book").glob("*.html")}
    code, said = build(project)
    assert code == 0 and "2 chapters, 0 to execute" in said, said
    assert {path: path.stat().st_mtime_ns for path in pages} == pages


def test_prose_alone_executes_nothing(project):
    edit(project / "book" / "01_a.md", "# Chapter a\n", "# Chapter a\n\nA new sentence.\n")
    code, said = build(project, "--notebooks")
    assert code == 0 and "0 to execute" in said, said
    assert "A new sentence." in (project / "book" / "01_a.ipynb").read_text()
    cells = json.loads((project / "book" / "01_a.ipynb").read_text())["cells"]
    assert [cell["outputs"][0]["data"]["text/plain"] for cell in cells if cell.get("outputs")] == [["42"]]


def test_a_failing_cell_stops_the_build_and_says_where(project):
    edit(project / "book" / "02_b.md", "sum(), 10", "sum(), 11")
    code, said = build(project)
    assert code != 0
    for part in ("NOT built", "book/02_b.md, cell 2 of 3: ClaimError", 'claims.check("sum-b"', "expected 11"):
        assert part in said, said
    edit(project / "book" / "02_b.md", "sum(), 11", "sum(), 10")


def test_a_claim_made_twice_stops_the_build(project):
    edit(project / "book" / "02_b.md", '"sum-b"', '"sum-a"')
    code, said = build(project)
    assert code != 0 and "stands once in the book" in said and "sum-a" in said
    edit(project / "book" / "02_b.md", '"sum-a"', '"sum-b"')


def test_a_warning_stops_the_build_each_time(project):
    edit(project / "book" / "index.md", "(01_a.md)", "(nowhere.md)")
    for _ in range(2):
        code, said = build(project)
        assert code != 0 and "nowhere.md" in said and "0 to execute" in said, said
    edit(project / "book" / "index.md", "(nowhere.md)", "(01_a.md)")


def test_two_builds_at_once_after_the_package_and_the_address_changed(project):
    (project / "diffbook" / "__init__.py").write_text("changed = True\n")
    edit(project / "_config.yml", "url: https://github.com/", "url: https://github.com/another-")
    both = [start(project) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("2 chapters, 2 to execute" in text for text in said) == 1, said
    assert is_complete(project)
    assert "A new sentence." in (project / "_build" / "html" / "book" / "01_a.html").read_text()
    for name in ("01_a.md", "01_a.ipynb"):
        assert "git+https://github.com/another-" in (project / "book" / name).read_text()
