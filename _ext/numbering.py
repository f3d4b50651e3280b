"""Number figures, equations, exercises and theorems by chapter: Fig. 8.2, (1.7), Exercise 1.3.

Sphinx counts through the whole book, so that a figure added to one chapter would renumber those after it. The number of
a chapter is the one its file name begins with. Sphinx compares its count with that of the last build to find pages to
write anew, so it gets that count back before it starts.
"""

import re


def _give_back(app, env, docnames):
    env.toc_fignumbers = getattr(env, "book_counted", env.toc_fignumbers)


def _by_chapter(app, env):
    env.book_counted = env.toc_fignumbers
    env.toc_fignumbers = {doc: _numbers(doc, kinds) for doc, kinds in env.book_counted.items()}
    return []


def _numbers(docname, kinds):
    chapter = re.search(r"/(\d\d)_", docname)
    if not chapter:
        return kinds
    return {kind: {name: (int(chapter[1]), k) for k, name in enumerate(names, 1)} for kind, names in kinds.items()}


def setup(app):
    app.connect("env-before-read-docs", _give_back)
    app.connect("env-get-updated", _by_chapter, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
