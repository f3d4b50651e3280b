"""Directives that show what the executed notebooks measured.

    {claims-table}     every claim of the book
    {runtime-table}    seconds and peak memory per chapter, and the machine they were measured on
    {chapter-figure}   a figure that a chapter computed, by its name; the directive's content replaces the caption

and two roles: {runtime}`08_ddpm` for one chapter's time, {claim}`mass-conserved` for a link to the place where a claim
is made; a name that no chapter claims stops the build. Nothing here is typed by hand: the data are _build/claims.json,
_build/runtime.json and _build/current/, written by tools/build_book.py.
"""

import base64
import json
import math
import sys
from html import escape
from pathlib import Path

import nbformat
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import chapters as book


def _data(env, name):
    path = book.BUILD / name
    env.note_dependency(str(path))
    return json.loads(path.read_text())


def _table(label, header, rows):
    """A table that scrolls inside its own box where it is too wide, also by keyboard."""
    head = "".join(f'<th scope="col">{name}</th>' for name in header)
    body = "".join("<tr>" + "".join(row) + "</tr>" for row in rows)
    table = f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    html = f'<div class="book-table" role="region" aria-label="{escape(label)}" tabindex="0">{table}</div>'
    return nodes.raw("", html, format="html")


def _cell(text, kind=""):
    return f'<td class="{kind}">{text}</td>' if kind else f"<td>{text}</td>"


def _number(value, resolution=0.0):
    """Four digits, or as many as show the size of the tolerance, up to eight."""
    digits = 4
    if resolution and value:
        digits = max(4, math.floor(math.log10(abs(value))) - math.floor(math.log10(resolution)) + 3)
    return f"{value:.{min(digits, 8)}g}".replace("e-0", "e-").replace("e+0", "e")


def _resolution(claim):
    scale = abs(claim.get("expected", 1.0)) if claim["tolerance_kind"] == "rtol" else 1.0
    return claim["tolerance"] * scale


def _expected(claim):
    if claim["kind"] == "check":
        return _number(claim["expected"], _resolution(claim))
    limits = [f"≥ {_number(claim['above'])}"] if "above" in claim else []
    limits += [f"≤ {_number(claim['below'])}"] if "below" in claim else []
    return "<br>".join(limits)


_KINDS = {"atol": "", "rtol": "<br><small>relative</small>", "standard_error": "<br><small>4 s.e.</small>"}


def _tolerance(claim):
    if claim["kind"] == "bound":
        return "–"
    if claim["tolerance"] == 0:
        return "exact"
    return f"{claim['tolerance']:.2g}{_KINDS[claim['tolerance_kind']]}"


def _margin(claim):
    """How much of the tolerance the deviation leaves; of a bound, how far inside the limit the value lies."""
    if claim["kind"] == "bound":
        return f"{_number(-claim['deviation'])}<br><small>inside</small>"
    if claim["deviation"] == 0:
        return "all of it"
    left = 1 - claim["deviation"] / claim["tolerance"]
    return f"{left:.0%}" if left < 0.995 else "over 99%"


def _claim_row(claim, link):
    measured = _number(claim["measured"], _resolution(claim))
    if claim["size"] > 1:
        measured += f"<br><small>worst of {claim['size']}</small>"
    return [
        f'<th scope="row"><a href="{link}#claim-{claim["name"]}">{claim["name"]}</a></th>',
        _cell(measured, "number"),
        _cell(_expected(claim), "number"),
        _cell(_tolerance(claim), "number"),
        _cell(_margin(claim), "number"),
        _cell(escape(claim["against"]) or "–", "words"),
    ]


class ClaimsTable(SphinxDirective):
    def run(self):
        claims = _data(self.env, "claims.json")
        header = ["claim", "measured", "expected", "tolerance", "margin", "against"]
        result = [nodes.paragraph("", f"The book makes {len(claims)} claims; in this build all of them hold.")]
        for chapter in dict.fromkeys(claim["chapter"] for claim in claims):
            mine = [claim for claim in claims if claim["chapter"] == chapter]
            link = self.env.app.builder.get_relative_uri(self.env.docname, chapter)
            title = mine[0]["title"]
            section = nodes.section(ids=[f"claims-{Path(chapter).name}"])
            rows = [_claim_row(claim, link) for claim in mine]
            section += [nodes.title("", title), _table(f"Claims of {title}", header, rows)]
            result.append(section)
        return result


class RuntimeTable(SphinxDirective):
    def run(self):
        data = _data(self.env, "runtime.json")
        rows = []
        for run in data["chapters"]:
            link = self.env.app.builder.get_relative_uri(self.env.docname, run["chapter"])
            rows.append(
                [
                    f'<th scope="row"><a href="{link}">{escape(run["title"])}</a></th>',
                    _cell(f"{run['seconds']:.0f} s", "number"),
                    _cell(f"{run['peak_bytes'] / 2**20:.0f} MiB", "number"),
                ]
            )
        machine = nodes.paragraph("", f"Measured on {data['machine']}.")
        return [_table("Time and memory of each chapter", ["chapter", "time", "peak memory"], rows), machine]


class Runtime(SphinxRole):
    """The measured time of one chapter in words."""

    def run(self):
        for run in _data(self.env, "runtime.json")["chapters"]:
            if Path(run["chapter"]).name == self.text:
                seconds = run["seconds"]
                text = f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.1f} minutes"
                return [nodes.Text(text)], []
        raise ExtensionError(f"{self.env.docname}: no chapter {self.text} for {{runtime}}")


class ClaimLink(SphinxRole):
    """A claim's name, leading to where it is checked."""

    def run(self):
        for claim in _data(self.env, "claims.json"):
            if claim["name"] == self.text:
                page = self.env.app.builder.get_relative_uri(self.env.docname, claim["chapter"])
                return [nodes.reference("", self.text, refuri=f"{page}#claim-{self.text}", internal=True)], []
        raise ExtensionError(f"{self.env.docname}: no chapter of this build makes the claim {self.text}")


class ChapterFigure(SphinxDirective):
    """Show, on another page, a figure that a chapter computed."""

    required_arguments = 1
    has_content = True
    option_spec = {"alt": directives.unchanged, "width": directives.length_or_percentage_or_unitless}

    def run(self):
        name = self.arguments[0]
        for chapter in book.chapters():
            path = book.current(chapter)
            if not path.exists():
                continue
            shown = {c.source: c for c in book.code_cells(nbformat.read(book.notebook(chapter), 4))}
            for cell in book.code_cells(nbformat.read(path, 4)):
                meta = shown.get(cell.source, cell).metadata.get("mystnb", {})
                images = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
                if meta.get("figure", {}).get("name") == name and images:
                    self.env.note_dependency(str(path))
                    return [self._figure(name, images[0], self.options.get("alt") or meta["image"]["alt"])]
        raise self.error(f"no chapter of this build shows a figure named {name}")

    def _figure(self, name, png, alt):
        path = book.BUILD / "figures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(png))
        image = nodes.image(uri="/" + path.relative_to(book.ROOT).as_posix(), alt=alt)
        if "width" in self.options:
            image["width"] = self.options["width"]
        figure = nodes.figure("", image, align="center")
        if self.content:
            legend = nodes.legend()  # not a caption: its number is the one it has in its chapter
            self.state.nested_parse(self.content, self.content_offset, legend)
            figure += legend
        return figure


def setup(app):
    app.add_directive("claims-table", ClaimsTable)
    app.add_directive("runtime-table", RuntimeTable)
    app.add_directive("chapter-figure", ChapterFigure)
    app.add_role("runtime", Runtime())
    app.add_role("claim", ClaimLink())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
