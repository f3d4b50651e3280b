"""Small repairs of theme and docutils mark-up that axe-core reports."""


def _repair(app, pagename, templatename, context, doctree):
    body = context.get("body")
    if body:
        # docutils: role="list" whose children are role="doc-biblioentry" is invalid ARIA.
        body = body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
        body = body.replace(' role="doc-biblioentry"', "")
        context["body"] = body


def setup(app):
    app.connect("html-page-context", _repair, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
