"""The built book in a real browser, page by page, light and dark: offline, complete, accessible, fit for a phone."""

import functools
import http.server
import re
import shutil
import subprocess
import threading
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
import yaml
from bs4 import BeautifulSoup
from page_checks import (
    AROUND,
    CONTRAST,
    CUT_OFF,
    GLYPHS,
    SCROLLING,
    STRUCTURE,
    THIN,
    UNFOLD,
    UNSET_MATH,
    WITHOUT_ALT,
)

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"
PAGES = sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob("*.html") if "_static" not in p.parts)
PAGES = [page for page in PAGES if page != "index.html"]  # it only sends the reader on to the first page
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
  --disable-component-update --disable-sync""".split()
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on the PATH; install it, on Debian and Ubuntu: apt-get install chromium"
)
pytestmark = pytest.mark.site


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def base():
    """Address of the built book on a server of this machine."""
    assert (SITE / "index.html").exists(), "the book is not built; `make test` builds it, or run `make book`"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture
def visit(browser, base):
    """Open a page; at the end, nothing that went wrong while it was open may be left unsaid."""
    complaints, page = [], browser.new_page(color_scheme="light", reduced_motion="reduce", viewport=WIDE)
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("console", lambda said: complaints.append(f"console: {said.text}") if said.type == "error" else None)
    page.on("response", lambda got: complaints.append(f"{got.status}: {got.url}") if got.status >= 400 else None)
    local = (base, "data:", "blob:")
    page.on("request", lambda r: complaints.append(f"outside: {r.url}") if not r.url.startswith(local) else None)

    def visit(name, math=True):
        if not math:  # setting it takes most of the time that a page takes
            page.route("**/*mathjax*/**", lambda route: route.fulfill(content_type="text/javascript", body=""))
        page.goto(base + name, wait_until="load")
        page.wait_for_load_state("networkidle")
        page.evaluate("window.MathJax?.startup?.promise")
        return page

    yield visit
    page.close()
    assert not complaints, "\n".join(complaints)


def violations(page, context, options):
    """What axe-core objects to, as a text; empty if nothing."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context, options)
    return found.generate_report() if found.response["violations"] else ""


def show(page, scheme):
    """The page in the other colours, as when a phone turns dark in the evening."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.wait_for_function("scheme => document.documentElement.dataset.theme === scheme", arg=scheme)


@needs_browser
@pytest.mark.parametrize("name", PAGES)
def test_page(visit, name):
    page = visit(name)
    page.evaluate(UNFOLD)
    assert page.evaluate(UNSET_MATH) == []
    assert page.evaluate(WITHOUT_ALT) == []
    assert page.evaluate("!window.requirejs && !document.querySelector('script[src*=require], script[src*=widget]')")
    assert not violations(page, GLYPHS, STRUCTURE)
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(500)  # the theme then makes what has to scroll reachable by keyboard
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "scrolls sideways at 390 px"
    assert page.evaluate(CUT_OFF) == [], "cut off at 390 px"
    assert not violations(page, AROUND, STRUCTURE), "at 390 px"
    assert not violations(page, GLYPHS, SCROLLING), "at 390 px"
    page.set_viewport_size(WIDE)
    page.evaluate(THIN)
    for scheme in ("light", "dark"):
        show(page, scheme)
        assert not violations(page, None, CONTRAST), scheme


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_opens_in_the_colours_of_the_reader(browser, base, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(base + PAGES[-1])
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.close()


PLAYERS = [name for name in PAGES if 'class="diffbook-player"' in (SITE / name).read_text()]


@needs_browser
@pytest.mark.parametrize("name", PLAYERS)
def test_players_move_by_mouse_and_keyboard(visit, name):
    page = visit(name, math=False)
    for k in range(page.locator(".diffbook-player").count()):
        player = page.locator(".diffbook-player").nth(k)
        button, slider, images = player.get_by_role("button"), player.get_by_role("slider"), player.locator("img")

        def shown(images=images):
            visible = images.evaluate_all("all => all.map((e, i) => [i, e.getClientRects().length]).filter(v => v[1])")
            assert len(visible) == 1, visible
            return visible[0][0]

        last = images.count() - 1
        player.scroll_into_view_if_needed()
        assert shown() == 0
        # mouse
        button.click()
        page.wait_for_function("e => e.value > 0", arg=slider.element_handle(), timeout=10_000)
        button.click()
        assert button.get_attribute("aria-pressed") == "false" and shown() == int(slider.input_value()) > 0
        box = slider.bounding_box()
        page.mouse.click(box["x"] + box["width"] - 6, box["y"] + box["height"] / 2)
        assert shown() == last
        # keyboard
        slider.focus()
        page.keyboard.press("Home")
        assert shown() == 0
        page.keyboard.press("ArrowRight")
        assert shown() == 1
        page.keyboard.press("End")
        assert shown() == last
        page.keyboard.press("Home")
        button.focus()
        page.keyboard.press("Space")
        assert button.get_attribute("aria-pressed") == "true"
        page.wait_for_function("e => e.value > 0", arg=slider.element_handle(), timeout=10_000)
        page.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "false"


@needs_browser
def test_search_finds(visit):
    page = visit("search.html?q=diffusion")
    page.wait_for_selector("#search-results li a", timeout=20_000)


@functools.cache
def parsed(name):
    return BeautifulSoup(re.sub(r'src="data:[^"]*"', "", (SITE / name).read_text()), "html.parser")


@pytest.mark.parametrize("name", ["index.html", *PAGES])
def test_internal_links_resolve(name):
    broken = []
    for tag in parsed(name).find_all(["a", "link", "script", "img"]):
        address = tag.get("href") or tag.get("src")
        if not address or re.match(r"[a-z]+:|//|#$", address) or "{" in address:
            continue
        path, fragment = urldefrag(address)
        path = unquote(path.split("?")[0])
        target = (SITE / name).parent / path if path else SITE / name
        if not target.resolve().is_file():
            broken.append(address)
        elif fragment and target.suffix == ".html":
            page = parsed(target.resolve().relative_to(SITE).as_posix())
            if not page.find(id=fragment) and not page.find("a", attrs={"name": fragment}):
                broken.append(address)
    assert not broken


def test_launch_buttons_open_files_of_the_repository():
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    owner = repository["url"].removeprefix("https://github.com/")
    tracked = set(subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines())
    opened = set()
    for name in PAGES:
        for link in parsed(name).find_all("a", href=re.compile("colab")):
            found = re.fullmatch(r"https://colab\.research\.google\.com/github/(.+)/blob/([^/]+)/(.+)", link["href"])
            if found:
                assert found.group(1, 2) == (owner, repository["branch"]), link["href"]
                opened.add(found.group(3))
    chapters = {path.relative_to(ROOT).as_posix() for path in (ROOT / "book").glob("[0-9][0-9]_*.ipynb")}
    assert opened >= chapters
    assert all((ROOT / path).is_file() for path in opened)
    assert opened <= tracked or not tracked


def test_pages_take_nothing_from_other_servers():
    for name in PAGES:
        for tag in parsed(name).find_all(["script", "link", "img", "iframe", "source"]):
            address = tag.get("src") or (tag.get("href") if "canonical" not in tag.get("rel", []) else "") or ""
            assert not re.match(r"https?:|//", address), f"{name}: {address}"
