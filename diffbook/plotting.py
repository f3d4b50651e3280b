"""One look for every figure: a style sheet, colours with fixed roles, and the few drawings that chapters share.

Every helper takes an `ax`, draws on it and returns it.
"""

import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

# Okabe-Ito colours by what they stand for; the last three are for whatever else a figure compares.
COLORS = {
    "data": "#0072B2",
    "noise": "#767676",
    "score": "#D55E00",
    "drift": "#D55E00",
    "exact": "#000000",
    "green": "#009E73",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
}
EXACT = {"color": COLORS["exact"], "linestyle": (0, (4, 2)), "linewidth": 1.5, "zorder": 5}  # ax.plot(x, p, **EXACT)
WIDTH = 6.0  # inches; at 12 points the text is still legible when the figure is 360 pixels wide
MAX_COLUMNS = 2


def use_style():
    """Set the book's style for this process; in a notebook, also figures that are sharp and of the size asked for."""
    plt.style.use(Path(__file__).with_name("book.mplstyle"))
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and hasattr(shell, "kernel"):
        from matplotlib_inline.backend_inline import select_figure_formats
        from matplotlib_inline.config import InlineBackend

        backend = InlineBackend.instance(parent=shell)
        backend.figure_formats = {"retina"}
        backend.print_figure_kwargs = {"bbox_inches": None}
        select_figure_formats(shell, backend.figure_formats, **backend.print_figure_kwargs)


def figure(rows=1, cols=1, *, height=None, **kwargs):
    """A figure of the book's width and its axes, as `plt.subplots` gives them.

    Args:
      rows, cols: panels; at most two side by side, so that a phone can show them.
      height: of the figure, inches; 3.4 for one row of one panel if left out.
      kwargs: handed to `plt.subplots`.
    """
    if cols > MAX_COLUMNS:
        raise ValueError(f"figure takes at most {MAX_COLUMNS} panels side by side, got {cols=}; stack them in rows")
    if height is None:
        height = rows * (3.4 if cols == 1 else 2.9)
    return plt.subplots(rows, cols, figsize=(WIDTH, height), **kwargs)


def exact(ax, x, y, *, label="exact", **kwargs):
    """The exact result, black and dashed, above everything else."""
    ax.plot(np.asarray(x), np.asarray(y), label=label, **EXACT | kwargs)
    return ax


def distribution(ax, samples, *, bins=60, span=None, density=None, color=COLORS["data"], label="samples", **kwargs):
    """Histogram of samples with unit area, and the exact density over it.

    Args:
      samples: any shape.  bins: count or edges.  span: (low, high) of the histogram; the samples' own if left out.
      density: a function of x, drawn as the exact result.
    """
    samples = np.asarray(samples).ravel()
    _, edges, _ = ax.hist(samples, bins=bins, range=span, density=True, color=color, alpha=0.5, label=label, **kwargs)
    if density is not None:
        x = np.linspace(edges[0], edges[-1], 400)
        exact(ax, x, density(x))
    ax.set_ylabel("probability density")
    return ax


def paths(ax, ts, xs, *, color=COLORS["data"], label=None, **kwargs):
    """Sample paths: `ts` of shape (n,), `xs` of shape (n,) or (n, paths)."""
    xs = np.asarray(xs).reshape(len(ts), -1)
    style = {"linewidth": 1, "alpha": min(1.0, 0.25 + 2 / xs.shape[1])} | kwargs
    lines = ax.plot(np.asarray(ts), xs, color=color, **style)
    lines[0].set_label(label)
    return ax


def field(ax, u, *, extent=None, label="u", vmin=None, vmax=None, cmap="viridis", colorbar=True, **kwargs):
    """A two-dimensional field with a labelled colour bar.

    Args:
      u: shape (nx, ny); the first axis runs to the right, the second upwards.
      extent: (left, right, bottom, top) in data units; cells are counted if left out.
      label: of the colour bar, with unit.
    """
    u = np.asarray(u)
    if extent is None:
        extent = (0, u.shape[0], 0, u.shape[1])
    image = ax.imshow(u.T, origin="lower", extent=extent, vmin=vmin, vmax=vmax, cmap=cmap, **kwargs)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, label=label, shrink=0.9)
    ax.spines[:].set_visible(False)
    return ax


def image_grid(ax, images, *, columns=None, row_labels=(), column_labels=(), cmap="gray_r", gap=1):
    """Images side by side as one picture: ink dark on paper white.

    Args:
      images: shape (n, h, w, 1) or (n, h, w), in [-1, 1]; values beyond are clipped.
      columns: images in a row; all of them up to ten if left out.
      row_labels, column_labels: words left of the rows and above the columns.
      gap: between images, in pixels of theirs.
    """
    images = np.asarray(images)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.ndim != 3 or len(images) == 0:
        raise ValueError(f"image_grid needs images of shape (n, h, w, 1) or (n, h, w), n >= 1, got {images.shape}")
    n, h, w = images.shape
    columns = min(n, columns or 10)
    rows = math.ceil(n / columns)
    sheet = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap), np.nan)
    for i, image in enumerate(images):
        top, left = (i // columns) * (h + gap), (i % columns) * (w + gap)
        sheet[top : top + h, left : left + w] = image
    ax.imshow(sheet, cmap=plt.get_cmap(cmap).with_extremes(bad="#DDDDDD"), vmin=-1, vmax=1)
    ax.set_yticks((np.arange(len(row_labels)) * (h + gap) + (h - 1) / 2), row_labels)
    ax.set_xticks((np.arange(len(column_labels)) * (w + gap) + (w - 1) / 2), column_labels)
    ax.tick_params(length=0, labelbottom=False, labeltop=True)
    ax.spines[:].set_visible(False)
    return ax
