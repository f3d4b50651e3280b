"""Bring each notebook in step with its .md source; the build does this too.

The .md is what authors edit. Its .ipynb twin, which Colab opens, is written from it: same cells, tags and metadata, no
outputs but those of cells tagged `nbval-check-output`. The set-up cell of both follows the address in _config.yml.
"""

import hashlib
import re
from collections import Counter

import jupytext
import nbformat
from chapters import chapters, code_cells, config, current, notebook, source, write

CHECKED = "nbval-check-output"
_CELL = re.compile(r"^(```\{code-cell\}[^\n]*\n)(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_OPTIONS = re.compile(r"\A(---\n.*?^---\n|(?::[\w-]+:[^\n]*\n)+)?\n*", re.MULTILINE | re.DOTALL)


def setup_cell():
    """The first code cell of every chapter: it installs this package where it is missing, as on Colab."""
    repository = config()["repository"]
    url = f"diffbook @ git+{repository['url']}@{repository['branch']}"
    return f"""\
# On Colab, or wherever the book's package is missing, install it; what is already there stays as it is.
import importlib.util
import os

if importlib.util.find_spec("diffbook") is None:
    diffbook_source = os.environ.get("DIFFBOOK_SOURCE", "{url}")
    %pip install --quiet "{{diffbook_source}}"\
"""


def is_setup(code):
    return "DIFFBOOK_SOURCE" in code


def _map_cells(text, change):
    """Apply `change` to the code of each code cell in a MyST text."""

    def one(match):
        head, body = match.groups()
        options = _OPTIONS.match(body)
        return head + options.group() + change(body[options.end() :].rstrip("\n")) + "\n```"

    return _CELL.sub(one, text)


def refresh_source(chapter):
    """Rewrite the set-up cell of a chapter's .md."""
    text = source(chapter).read_text()
    return write(source(chapter), _map_cells(text, lambda code: setup_cell() if is_setup(code) else code))


def _stored(chapter):
    """Outputs of the checked cells as the repository holds them, by source."""
    if not notebook(chapter).exists():
        return {}
    cells = code_cells(nbformat.read(notebook(chapter), 4))
    return {cell.source: cell.outputs for cell in cells if CHECKED in cell.metadata.get("tags", []) and cell.outputs}


def refresh_notebook(chapter, outputs=None):
    """Write a chapter's .ipynb from its .md; `outputs` are those of checked cells, by source, else the stored ones."""
    outputs = _stored(chapter) if outputs is None else outputs
    nb = jupytext.read(source(chapter))
    nb.nbformat, nb.nbformat_minor = 4, 5
    seen = Counter()
    for number, cell in enumerate(nb.cells, 1):
        seen[cell.source] += 1  # an id that says the same in every checkout
        cell.id = hashlib.sha256(f"{seen[cell.source]} {cell.source}".encode()).hexdigest()[:8]
        if cell.cell_type == "code":
            checked = CHECKED in cell.metadata.get("tags", [])
            cell.outputs = outputs.get(cell.source, []) if checked else []
            cell.execution_count = number if cell.outputs else None  # nbval takes outputs of cells that were run
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = None
    return write(notebook(chapter), nbformat.writes(nb) + "\n")


def record_outputs(chapter, record):
    """Store the outputs of checked cells, as just executed: of those that have none, or ("all") of every one."""
    fresh = {cell.source: cell.outputs for cell in code_cells(nbformat.read(current(chapter), 4))}
    return refresh_notebook(chapter, fresh if record == "all" else fresh | _stored(chapter))


def refresh(names=None):
    """Bring all pairs in step; return the chapters that changed."""
    return [name for name in names or chapters() if refresh_source(name) + refresh_notebook(name)]


if __name__ == "__main__":
    for name in refresh():
        print(f"{name}: notebook brought in step with {source(name).name}")
