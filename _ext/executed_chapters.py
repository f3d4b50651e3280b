"""Give myst-nb each chapter with the outputs that tools/build_book.py stored for it.

Why not jupyter-cache: it keys on the code cells alone, so an edit of the package would leave stale outputs; its
database does not survive a kill; and Sphinx would execute one chapter after the other. Here a chapter's prose comes
from its .ipynb and its outputs from _build/current/, checked against the chapter's key, so that no stale one is shown.
"""

import sys
from pathlib import Path

import nbformat
from sphinx.errors import ExtensionError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import chapters as book

_LIVE = "application/vnd.jupyter.widget-view+json"  # needs a kernel; the player beside it stands in for it


def _insert_outputs(app, docname, source):
    if docname not in app.env.book_chapters:
        return
    path = book.current(docname)
    if not path.exists() or nbformat.read(path, 4).metadata.diffbook.key != book.key(docname):
        raise ExtensionError(f"{docname} has not been executed as it is now; `make book` does that first")
    app.env.note_dependency(str(path))
    nb = nbformat.reads(source[0], 4)
    executed = book.code_cells(nbformat.read(path, 4))
    for cell, done in zip(book.code_cells(nb), executed, strict=True):
        cell.outputs = [output for output in done.outputs if _LIVE not in output.get("data", {})]
        for output in cell.outputs:
            output.get("data", {}).pop(book.CLAIM, None)  # for the table of claims, not for this page
        cell.execution_count = done.execution_count
    source[0] = nbformat.writes(nb)


def _note_chapters(app, env, added, changed, removed):
    env.book_chapters = set(book.chapters())
    return []


def _leave_out_sources(app, config):
    # The .md and the .ipynb of a chapter are the same page to Sphinx; it is to read the .ipynb.
    config.exclude_patterns = [*config.exclude_patterns, *(f"{name}.md" for name in book.chapters())]


def setup(app):
    app.connect("config-inited", _leave_out_sources, priority=100)
    app.connect("env-get-outdated", _note_chapters)
    app.connect("source-read", _insert_outputs)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
