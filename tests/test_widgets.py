"""Cells with sliders: shown in the page but executed only where a reader runs them, in Jupyter or in Colab.

Each is run here with the cells above it that it needs, and no others: a chapter takes seconds, not a minute.
"""

import re
import subprocess
import symtable
import sys
from ast import Assign, AugAssign, Name, Store, parse, unparse, walk
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import pairs  # noqa: E402
from chapters import chapters, code_cells, notebook  # noqa: E402

TAGS = {"skip-execution", "nbval-skip"}  # what nbclient and nbval call it
STANDS_IN = re.compile(r"live in Jupyter and Colab\b(?:[^.]|\.\d)*; on this page (?:[^.]|\.\d)*\bstands? in for it\.")
AT_ONCE = {"listcomp", "setcomp", "dictcomp", "genexpr"}  # scopes whose names are looked up where they stand


def is_live(cell):
    return cell.cell_type == "code" and bool(TAGS & set(cell.metadata.get("tags", [])))


def cells(name):
    return nbformat.read(notebook(name), 4).cells


CHAPTERS = [name for name in chapters() if any(map(is_live, cells(name)))]
LIVE = [pytest.param(name, i, id=f"{name}-{i}") for name in CHAPTERS for i, c in enumerate(cells(name)) if is_live(c)]

# A network takes long to draw, and the page has it draw with the same function. So here it is not asked.
IN_PLACE = {"book/09_fast_sampling": "ask = lambda x, t, labels: -x"}

# Moves every slider to its ends, calls the function there, then lets ipywidgets call it.
DRIVE = """
from matplotlib.pyplot import close, get_fignums

for live in functions:
    sliders, low, high = live.widget.kwargs_widgets, {}, {}
    for slider in sliders:
        assert slider.description and slider._kwarg, slider
        assert live.widget.manual or not slider.continuous_update, slider
        if hasattr(slider, "options"):
            ends = [slider.options[0], slider.options[-1]]
        elif isinstance(slider.value, tuple):
            ends = [(slider.min, slider.min), (slider.min, slider.max)]
        else:
            ends = [slider.min, slider.max]
        low[slider._kwarg], high[slider._kwarg] = ends
    for values in (low, high):
        close("all")
        assert live(**values) is None and get_fignums(), "it is to show one figure and to return nothing"
    for slider in sliders:
        close("all")
        slider.value = high[slider._kwarg] if slider.value != high[slider._kwarg] else low[slider._kwarg]
        if live.widget.manual:
            assert not get_fignums()
            continue
        assert get_fignums(), f"{slider.description} moved, and nothing was drawn"
    if live.widget.manual:
        for slider in sliders:
            slider.value = low[slider._kwarg]
        live.widget.manual_button.click()
        assert get_fignums()
    print(live.__name__, "runs")
"""


class Statement:
    """A statement of a cell: the names that it gives a meaning to, and those that it takes, at once, or later, when a
    function that it defines is called."""

    def __init__(self, node):
        self.code = unparse(node)
        table = symtable.symtable(self.code, "cell", "exec")
        symbols = table.get_symbols()
        self.gives = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
        self.now = {s.get_name() for s in symbols if s.is_referenced()}
        self.later = set()
        self._look_into(table)
        targets = node.targets if isinstance(node, Assign) else [node.target] if isinstance(node, AugAssign) else []
        stores = (n for target in targets if not isinstance(target, Name) for n in walk(target))
        self.changes = {n.id for n in stores if isinstance(n, Name) and not isinstance(n.ctx, Store)}
        if isinstance(node, AugAssign):
            self.changes |= self.gives

    def _look_into(self, table):
        for inner in table.get_children():
            names = self.now if inner.get_name() in AT_ONCE else self.later
            names |= {s.get_name() for s in inner.get_symbols() if s.is_global()}
            self._look_into(inner)


def statements(cell):
    return [Statement(node) for node in parse(cell.source).body]


def needed(above, live):
    """Indices of the statements above that a live cell needs, and the names it looks up each time a slider moves."""
    late, kept, seen = set(), set(), set()
    todo = [(name, len(above), False) for s in live for name in s.now]
    todo += [(name, len(above), True) for s in live for name in s.later]
    while todo:
        name, before, called = todo.pop()
        if (name, before, called) in seen:
            continue
        seen.add((name, before, called))
        late |= {name} if called else set()
        for i in reversed(range(before)):
            if name in above[i].gives | above[i].changes:
                kept.add(i)
                todo += [(n, i, False) for n in above[i].now]
                # Its body looks names up when it is called, by a slider or by a statement above.
                todo += [(n, len(above) if called else before, called) for n in above[i].later]
                if name not in above[i].changes:
                    break
    return kept, late


def split(name, number):
    """Statements above a cell, in it, and below it; without those of the set-up cell and of other live cells."""
    parts = [], [], []
    for i, cell in enumerate(cells(name)):
        if i == number or (cell.cell_type == "code" and not is_live(cell) and not pairs.is_setup(cell.source)):
            parts[(i >= number) + (i > number)].extend(statements(cell))
    return parts


def program(name):
    """A chapter's live cells and what they need, as one program."""
    here = cells(name)
    style = next(i for i, cell in enumerate(here) if "plotting.use_style()" in cell.source)
    first = len(split(name, style + 1)[0])  # of imports and settings, all
    lines, functions, done = ["import matplotlib", "matplotlib.use('Agg')"], [], set()
    for number in (i for i, cell in enumerate(here) if is_live(cell)):
        above, live, _ = split(name, number)
        kept, _ = needed(above, live)
        lines += [above[i].code for i in sorted((kept | set(range(first))) - done)]
        done |= kept | set(range(first))
        lines.append(here[number].source)
        functions += [n for s in live for n in s.gives if s.code.startswith("@interact")]
    return "\n".join([*lines, IN_PLACE.get(name, ""), f"functions = [{', '.join(functions)}]", DRIVE])


@pytest.mark.long
def test_sliders_move_what_they_should(quick, tmp_path):
    """In one process for all chapters, which each have their own names."""
    programs = {name: program(name) for name in CHAPTERS}
    each = f"for name, code in {programs!r}.items():\n    exec(compile(code, name, 'exec'), {{}})"
    (tmp_path / "live.py").write_text(each)
    command = [sys.executable, "-W", "ignore:FigureCanvasAgg", "-W", "error::RuntimeWarning", "live.py"]
    environment = quick | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    assert done.stdout.count(" runs\n") == len(LIVE)
    assert "Exception in interact" not in done.stderr, done.stderr[-6000:]


def test_several_chapters_have_sliders():
    assert len(CHAPTERS) >= 3 and len(LIVE) >= 4


@pytest.mark.parametrize("name", chapters())
def test_only_live_cells_take_widgets_and_no_widget_is_stored(name):
    for cell in code_cells(nbformat.read(notebook(name), 4)):
        live = is_live(cell)
        assert live == ("ipywidgets" in cell.source)
        if live:
            assert TAGS <= set(cell.metadata.tags), "executed by one of the two"
            assert not {"hide-input", "hide-cell", "remove-input", "remove-cell"} & set(cell.metadata.tags)
            assert not cell.outputs and cell.execution_count is None
    assert "application/vnd.jupyter.widget" not in notebook(name).read_text()


@pytest.mark.parametrize(("name", "number"), LIVE)
def test_the_page_says_what_stands_in_for_a_live_cell(name, number):
    before = cells(name)[:number]
    text = " ".join(before[-1].source.split())
    assert before[-1].cell_type == "markdown" and len(STANDS_IN.findall(text)) == 1, text
    shown = [cell for cell in before if "player.player(" in cell.source or "figure" in cell.metadata.get("mystnb", {})]
    assert shown


@pytest.mark.parametrize(("name", "number"), LIVE)
def test_a_live_cell_keeps_out_of_the_way(name, number):
    """A reader who runs it gets the numbers of the page all the same, and may go back to it from the end."""
    above, live, below = split(name, number)
    own = {n for s in live for n in s.gives}
    elsewhere = {n for s in above + below for n in s.gives | s.now | s.later}
    assert not own & elsewhere, "a name of the page"
    _, late = needed(above, live)
    assert not late & {"keys", "rng"}, "takes random numbers from those of the page"
    assert late & {n for s in below for n in s.gives | s.changes} == set(), "means something else further down"
