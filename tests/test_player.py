"""player: its mark-up, what it refuses, and that it comes out the same. The tests of the site see it move."""

import functools
import io
import re
import xml.etree.ElementTree as ET

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from diffbook import player, plotting


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        matplotlib.use("agg")
        plotting.use_style()
        yield
    plt.close("all")


def draw(value):
    _, ax = plotting.figure()
    ax.plot([0, 1], [0, value])
    ax.set_ylim(0, 3)
    return ax


@functools.cache
def pngs(n):
    return player.frames(draw, range(n))


def make(n=5, **kwargs):
    return player.player(pngs(n), [f"line to {k}" for k in range(n)], **kwargs)


def tree(shown):
    """The mark-up without its style and script, parsed as XML: what parses so strictly, every reader parses."""
    mark_up = re.sub(r"<(style|script)>.*?</\1>", "", shown._repr_html_(), flags=re.DOTALL)
    mark_up = re.sub(r"<((?:img|input)\b[^>]*)>", r"<\1/>", mark_up)
    mark_up = re.sub(r" (hidden)(?=[ />])", r' \1=""', mark_up)
    return ET.fromstring(f"<page>{mark_up}</page>")


def test_mark_up_is_what_the_site_tests_rely_on():
    root = tree(make(caption="A line rises.", label="slope")).find("div[@class='diffbook-player']")
    images = list(root.iter("img"))
    assert [image.get("alt") for image in images] == [f"line to {k}" for k in range(5)]
    (slider,) = root.iter("input")
    assert (slider.get("type"), slider.get("min"), slider.get("max"), slider.get("value")) == ("range", "0", "4", "0")
    (button,) = root.iter("button")
    assert (button.get("type"), button.get("aria-label"), button.get("aria-pressed")) == ("button", "Play", "false")
    assert next(root.iter("label")).text.strip() == "slope"
    assert root.get("role") == "group" and root.get("aria-label") == "A line rises."
    assert not [node for node in root.iter() if node.get("id")]


def test_without_a_script_first_middle_and_last_stand_there():
    root = tree(make(7))
    shown = [k for k, image in enumerate(root.iter("img")) if image.get("hidden") is None]
    assert shown == [0, 3, 6]
    (controls,) = (node for node in root.iter("div") if node.get("class") == "dp-controls")
    assert controls.get("hidden") is not None
    assert "JavaScript" in "".join(root.find(".//noscript").itertext())


def test_nothing_is_asked_of_the_network():
    shown = make()._repr_html_()
    assert not re.findall(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]*", "", shown))


def test_words_are_escaped():
    shown = player.player(pngs(2), ['a "b" <c>', "d & e"], label="<t>", caption="<script>", values=["<0>", "1"])
    assert "<c>" not in shown._repr_html_() and shown._repr_html_().count("<script>") == 1
    root = tree(shown)
    assert next(root.iter("img")).get("alt") == 'a "b" <c>'
    assert next(root.iter("b")).text == "<t> = <0>:"


def test_values_are_said_with_each_frame():
    texts = [node.text for node in tree(make(3, label="t", values=np.array([0, 0.25, 1]))).iter("b")]
    assert texts == ["t = 0:", "t = 0.25:", "t = 1:"]
    assert [node.text for node in tree(make(3)).iter("b")][1] == "step 1 of 2:"


def test_same_frames_same_page():
    again = player.player(player.frames(draw, range(2)), ["line to 0", "line to 1"])
    assert again._repr_html_() == make(2)._repr_html_()
    digests = [re.search(r'data-player="(\w+)"', make(n)._repr_html_()).group(1) for n in (2, 3)]
    assert len(set(digests)) == 2


def test_frames_are_small_sharp_closed_and_of_nominal_width():
    ax = draw(2)
    shown = player.player([ax.figure, draw(1)], ["two", "one"])
    assert not plt.get_fignums()
    image = Image.open(io.BytesIO(shown.pngs[0]))
    assert image.mode == "P" and image.width > 1.5 * 600
    assert next(tree(shown).iter("img")).get("width") == "600"
    assert len(shown._repr_html_()) < 60_000
    assert repr(shown) == "Player(2 frames of step)"


def test_png_bytes_pass_as_frames():
    buffer = io.BytesIO()
    Image.new("RGBA", (40, 20), (255, 0, 0, 0)).save(buffer, format="png")
    shown = player.player([buffer.getvalue()] * 2, ["clear", "clear"])
    assert Image.open(io.BytesIO(shown.pngs[0])).convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert next(tree(shown).iter("img")).get("width") == "40"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alts": ["only one"]}, "one non-empty alt text per frame"),
        ({"alts": ["one", " "]}, "one non-empty alt text per frame"),
        ({"values": [1]}, "one value per frame"),
        ({"values": "ab"}, "one value per frame"),
        ({"frames": [b"GIF89a", b"GIF89a"]}, "must be a PNG"),
        ({"frames": ["a.png", "b.png"]}, "figure or axes or PNG bytes, got str"),
        ({"interval": 0}, "interval > 0"),
    ],
)
def test_bad_players_are_refused(change, message):
    good = {"frames": pngs(2), "alts": ["one", "two"]}
    with pytest.raises(ValueError, match=message):
        player.player(**good | change)


def test_a_single_frame_is_a_figure():
    with pytest.raises(ValueError, match="at least 2 frames"):
        player.player(pngs(1), ["one"])
