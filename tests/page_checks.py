"""What the tests of the site ask a page in the browser: settings of axe-core, and scripts."""

# Preloading would ask for style sheets' imports at wrong places. The glyphs of a formula have the colour of its text
# and are hidden from assistive technology, which reads the formula beside them: they are left out, for time.
AXE = {"preload": False, "resultTypes": ["violations"]}
GLYPHS = {"exclude": [["mjx-math"]]}
# What a narrow screen changes: all around the text, and in the text that some of it now has to scroll.
AROUND = {"exclude": [["main article"]]}
SCROLLING = AXE | {"runOnly": {"type": "rule", "values": ["scrollable-region-focusable"]}}
STRUCTURE = AXE | {"rules": {"color-contrast": {"enabled": False}}}
# The rules that look at colours; all that the two themes differ in.
CONTRAST = AXE | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
# For the contrast, for time: formulas go, and of the listings those stay that show classes not seen before, which is
# where colours come from, in either theme.
THIN = """() => {
  document.querySelectorAll("mjx-math").forEach(e => e.remove());
  const seen = new Set();
  for (const pre of document.querySelectorAll("pre")) {
    const before = seen.size, place = pre.closest(".cell_output, .admonition, .highlight")?.className;
    for (const e of [pre, ...pre.querySelectorAll("*")]) {
      seen.add([e.tagName, e.className, e.getAttribute("style"), e.parentElement.className, place].join());
    }
    if (seen.size === before) pre.remove();
  }
}"""
UNFOLD = """() => {
  document.querySelectorAll("details").forEach(d => d.open = true);
  document.querySelectorAll(".toggle-hidden").forEach(d => d.classList.remove("toggle-hidden"));
}"""
UNSET_MATH = """() => [
  ...[...document.querySelectorAll("mjx-merror, .MathJax_Error")].map(e => e.textContent),
  ...[...document.querySelectorAll(".math")].filter(e => !e.querySelector("mjx-container")).map(e => e.textContent),
  ...[...document.querySelectorAll("article p, article li, article td, figcaption, .admonition-title")]
    .filter(e => !e.closest("pre, code") && /\\$\\$|\\\\\\(|\\\\\\[/.test(e.innerText)).map(e => e.innerText),
]"""
# Images whose alternative text is missing or says nothing; player frames count too, shown or not.
WITHOUT_ALT = """() => [...document.querySelectorAll("article img")]
  .filter(e => (e.getAttribute("alt") || "").trim().length < 12 || /^(\\.\\.\\/)?_images|\\.png$/.test(e.alt))
  .map(e => e.outerHTML.slice(0, 160))"""
# What reaches beyond the right edge of the screen and cannot be scrolled to inside a box of its own.
CUT_OFF = """() => {
  const seen = e => {
    for (let box = e; box && box !== document.body; box = box.parentElement) {
      if (/auto|scroll/.test(getComputedStyle(box).overflowX) && box.getBoundingClientRect().right <= innerWidth + 1)
        return true;
    }
    return false;
  };
  const bad = [...document.querySelectorAll("main article *")].filter(e =>
    e.getClientRects().length && getComputedStyle(e).visibility !== "hidden" && !e.closest("mjx-assistive-mml")
    && e.getBoundingClientRect().right > innerWidth + 1 && !seen(e));
  return bad.slice(0, 5).map(e => e.outerHTML.slice(0, 160));
}"""
