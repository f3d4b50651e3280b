"""Serve MathJax, fonts and the book's own style from the book itself, so that no page asks another server for anything.

The folders are added here and not with `html_static_path` in _config.yml, because Jupyter Book turns every *.js below a
configured static path into a <script> on every page. No widget bundle is loaded either: players are plain HTML.
"""

from pathlib import Path

HERE = Path(__file__).resolve().parent
VENDOR = HERE.parent / "vendor"


def _use_vendor(app, config):
    config.html_static_path = [*config.html_static_path, str(VENDOR), str(HERE / "static")]
    config.mathjax_path = "mathjax/tex-mml-chtml.js"
    config.nb_ipywidgets_js = {}


def setup(app):
    app.connect("config-inited", _use_vendor, priority=100)
    app.add_css_file("book.css", priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
