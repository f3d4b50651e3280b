"""The two files of each chapter say the same, and what they store is what they may store."""

import ast
import re
import sys
from collections import Counter
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import pairs  # noqa: E402
from chapters import chapters, code_cells, config, docnames  # noqa: E402

CHAPTERS = chapters()
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def notebook(name):
    return nbformat.read(ROOT / f"{name}.ipynb", 4)


def said(cells):
    return [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in cells]


def test_every_chapter_is_in_the_table_of_contents():
    written = {path.relative_to(ROOT).with_suffix("").as_posix() for path in (ROOT / "book").glob("[0-9][0-9]_*.*")}
    assert written == {name for name in CHAPTERS if re.match(r"book/\d\d_", name)}
    assert all((ROOT / f"{name}.md").exists() for name in docnames())


@pytest.mark.parametrize("name", CHAPTERS)
def test_notebook_is_in_step_with_its_source(name):
    source = jupytext.read(ROOT / f"{name}.md")
    assert said(notebook(name).cells) == said(source.cells), "run `make notebooks`"
    assert notebook(name).metadata.kernelspec == source.metadata.kernelspec == KERNEL
    assert source.metadata.jupytext.formats == "ipynb,md:myst"


@pytest.mark.parametrize("name", CHAPTERS)
def test_stored_outputs(name):
    # nbval passes a checked cell that has no stored output, so they are looked for here.
    for cell in code_cells(notebook(name)):
        checked = pairs.CHECKED in cell.metadata.get("tags", [])
        assert bool(cell.outputs) == checked, f"run `make notebooks`:\n{cell.source}"
        assert (cell.execution_count is not None) == checked, "nbval compares outputs of cells that were run"
        for output in cell.outputs:
            shown = output.get("text", "") or "".join(output.get("data", {}).get("text/plain", ""))
            assert shown.strip(), f"a checked cell with an empty output:\n{cell.source}"
            assert not [mime for mime in output.get("data", {}) if mime.startswith("image/")]


@pytest.mark.parametrize("name", CHAPTERS)
def test_setup_cell_follows_the_repository(name):
    setup = [cell for cell in code_cells(notebook(name)) if pairs.is_setup(cell.source)]
    assert [cell.source for cell in setup] == [pairs.setup_cell()], "run `make notebooks`"
    assert code_cells(notebook(name))[0].source == setup[0].source, "it has to come before the first import"
    assert "remove-cell" in setup[0].metadata.tags


def test_address_of_the_repository_stands_in_one_place():
    address = config()["repository"]["url"]
    assert address in pairs.setup_cell()
    allowed = {"_config.yml", "README.md", "CITATION.cff", "pyproject.toml"}
    for path in [*ROOT.glob("*.*"), *(ROOT / "book").glob("*.md"), *ROOT.glob("tools/*"), *ROOT.glob("_ext/*.py")]:
        if path.is_file() and path.name not in allowed:
            text = path.read_text().replace(pairs.setup_cell(), "")
            assert address not in text, f"{path.name} states the address; take it from _config.yml"


def test_names_of_claims_are_unique():
    names = Counter()
    for name in CHAPTERS:
        for cell in code_cells(notebook(name)):
            names.update(re.findall(r"claims\.(?:check|bound)\(\s*[\"']([^\"']+)[\"']", cell.source))
    assert [name for name, count in names.items() if count > 1] == []
    assert not names or min(map(len, names)) > 2


def test_set_up_cell_installs_only_where_the_package_is_missing():
    code = pairs.setup_cell().replace("%pip install --quiet ", "install = ")
    tree = ast.parse(code)
    (condition,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert "install" in ast.unparse(condition) and "find_spec('diffbook') is None" in ast.unparse(condition.test)


def test_toc_is_valid_yaml_with_captions():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    assert toc["format"] == "jb-book" and all(part["caption"] for part in toc["parts"])


def test_formatting_of_a_source_survives():
    """Rewriting the set-up cell leaves every other character of the file alone."""
    for name in CHAPTERS:
        text = (ROOT / f"{name}.md").read_text()
        assert pairs._map_cells(text, lambda code: code) == text
