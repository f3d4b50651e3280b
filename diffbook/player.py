"""A player of pictures in plain HTML: it moves in the page, in Jupyter and in Colab, with no kernel and no network.

Without JavaScript the first, middle and last frames stand one below another; print shows the current one beside those.
The mark-up that tests rely on: the root has class `diffbook-player`; in it one `button`, one range input, and one `img`
per frame, of which exactly the current one lacks the attribute `hidden`. Nothing in it has an id: the script finds its
player by class, so that any number of them, equal ones included, live on one page; `data-player` hashes the content.
"""

import base64
import hashlib
import html
import io
import struct
from pathlib import Path

_NOMINAL_DPI = 100  # CSS pixels per inch of figure, as for every other figure of the book
_DPI = 160
_ASSETS = Path(__file__).parent


class Player:
    """What `player` returns; notebooks show it as HTML."""

    def __init__(self, pngs, alts, texts, *, label, caption, interval):
        self.pngs, self.alts, self.texts = pngs, alts, texts
        self.label, self.caption, self.interval = label, caption, interval

    def __repr__(self):
        return f"Player({len(self.pngs)} frames of {self.label})"

    def _repr_html_(self):
        last = len(self.pngs) - 1
        stills = {0, (last + 1) // 2, last}
        frames = "".join(
            f'<div class="dp-frame"{"" if i in stills else " hidden"} data-still="{int(i in stills)}">'
            f'<img decoding="sync" width="{_width(png)}" src="data:image/png;base64,{base64.b64encode(png).decode()}"'
            f' alt="{html.escape(alt)}"{"" if i in stills else " hidden"}>'
            f'<p class="dp-text"><b>{html.escape(text)}</b> <span>{html.escape(alt)}</span></p></div>'
            for i, (png, alt, text) in enumerate(zip(self.pngs, self.alts, self.texts, strict=True))
        )
        name = html.escape(self.caption or f"Frames by {self.label}")
        caption = f'<p class="dp-caption">{html.escape(self.caption)}</p>' if self.caption else ""
        digest = hashlib.sha256(frames.encode() + name.encode()).hexdigest()[:12]
        return (
            f"<style>{_asset('player.css')}</style>"
            f'<div class="diffbook-player" role="group" aria-label="{name}" data-player="{digest}"'
            f' data-interval="{self.interval}" data-lm-suppress-shortcuts="true">'
            f'<div class="dp-frames">{frames}</div>'
            f'<div class="dp-controls" hidden><button type="button" aria-label="Play" aria-pressed="false">'
            f'<svg viewBox="0 0 10 10" width="14" height="14" fill="currentColor" aria-hidden="true">'
            f'<path class="dp-play" d="M2 1v8l7-4z"/><path class="dp-pause" d="M2 1h2v8H2zM6 1h2v8H6z"/></svg></button>'
            f"<label>{html.escape(self.label)} "
            f'<input type="range" min="0" max="{last}" step="1" value="0" autocomplete="off"></label></div>'
            f'<p class="dp-live" aria-live="polite" hidden></p>{caption}'
            f"<noscript><p>Without JavaScript this player shows its first, middle and last frames.</p></noscript></div>"
            f"<script>{_asset('player.js')}</script>"
        )


def player(frames, alts, *, label="step", values=None, caption="", interval=300):
    """A player of `frames` with a slider, a play button and, for each frame, words that say what is seen.

    Args:
      frames: matplotlib figures (which are closed) or PNG bytes, as `frames` makes them.
      alts: one text per frame: what is seen and what follows from it. It is the picture's alt text and stands below it.
      label: of the slider.  values: its value at each frame, numbers or words; the frame's number if left out.
      caption: one sentence on the whole.  interval: milliseconds from frame to frame in play.
    Raises: ValueError: if a frame has no alt text or no value, or is no picture.
    """
    pngs = [_png(frame) for frame in frames]
    alts = list(alts)
    if len(pngs) < 2:
        raise ValueError(f"player needs at least 2 frames, got {len(pngs)}; show a single picture as a figure")
    if isinstance(values, str) or (values is not None and len(values) != len(pngs)):
        raise ValueError(f"player needs one value per frame: {len(pngs)} frames, got values={values!r}")
    if len(alts) != len(pngs) or not all(isinstance(alt, str) and alt.strip() for alt in alts):
        raise ValueError(f"player needs one non-empty alt text per frame: {len(pngs)} frames, got {len(alts)} texts")
    if not interval > 0:
        raise ValueError(f"player needs interval > 0 milliseconds, got {interval=}")
    if values is None:
        texts = [f"{label} {i} of {len(pngs) - 1}:" for i in range(len(pngs))]
    else:
        texts = [f"{label} = {value if isinstance(value, str) else format(float(value), '.4g')}:" for value in values]
    return Player(pngs, alts, texts, label=label, caption=caption, interval=interval)


def frames(draw, values):
    """Render `draw(value)`, a figure or axes, for each value, as small PNGs for `player`."""
    return [_png(draw(value)) for value in values]


def _png(frame):
    """PNG bytes of a figure or of PNG bytes, with a palette of 256 colours; the figure is closed."""
    from PIL import Image  # comes with matplotlib

    if not isinstance(frame, bytes):
        import matplotlib.pyplot as plt

        if not hasattr(frame, "figure"):
            raise ValueError(f"a frame is a matplotlib figure or axes or PNG bytes, got {type(frame).__name__}")
        buffer = io.BytesIO()
        frame.figure.savefig(buffer, format="png", dpi=_DPI)
        plt.close(frame.figure)
        frame = buffer.getvalue()
    if frame[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"a frame given as bytes must be a PNG, got bytes that begin with {frame[:8]!r}")
    image = Image.open(io.BytesIO(frame))
    if image.mode == "P":
        return frame
    dpi = image.info.get("dpi", (_NOMINAL_DPI, _NOMINAL_DPI))
    buffer = io.BytesIO()
    card = Image.new("RGB", image.size, "white")
    card.paste(image.convert("RGBA"), mask=image.convert("RGBA").getchannel("A"))
    card.quantize(256, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True, dpi=dpi)
    return buffer.getvalue()


def _width(png):
    """Width in CSS pixels: the picture's inches, if it states its resolution, at the book's nominal one."""
    (pixels,) = struct.unpack(">I", png[16:20])
    at = png.find(b"pHYs")
    per_metre = struct.unpack(">I", png[at + 4 : at + 8])[0] if at > 0 else _NOMINAL_DPI / 0.0254
    return round(pixels / (per_metre * 0.0254) * _NOMINAL_DPI)


def _asset(name):
    return (_ASSETS / name).read_text(encoding="utf-8").strip()
