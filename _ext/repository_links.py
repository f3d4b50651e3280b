"""Roles for links that follow the repository's address, which only _config.yml states.

    {colab}`words <book/01_diffusion_law.ipynb>`      the notebook, opened in Colab
    {repository}`words <CONTRIBUTING.md>`             a file or folder as the repository shows it; <.> is its front

A path that does not exist is an error, so that no link leads nowhere.
"""

import sys
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import ReferenceRole

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import chapters as book


def address(path, *, colab=False):
    """Where a file of the repository is found on the web."""
    repository = book.config()["repository"]
    kind = "tree" if (book.ROOT / path).is_dir() else "blob"
    front = repository["url"].removesuffix("/")
    if colab:
        owner_and_name = front.removeprefix("https://github.com/")
        front = f"{book.config()['launch_buttons']['colab_url']}/github/{owner_and_name}"
    return front if path == "." else f"{front}/{kind}/{repository['branch']}/{path}"


class Link(ReferenceRole):
    def __init__(self, *, colab):
        super().__init__()
        self.colab = colab

    def run(self):
        if not (book.ROOT / self.target).exists():
            raise ExtensionError(f"{self.env.docname}: the repository has no {self.target}")
        return [nodes.reference(self.rawtext, self.title, refuri=address(self.target, colab=self.colab))], []


def setup(app):
    app.add_role("colab", Link(colab=True))
    app.add_role("repository", Link(colab=False))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
