"""plotting: the style, and what each helper draws."""

import io

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from diffbook import plotting


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context():
        matplotlib.use("agg")
        plotting.use_style()
        yield
    plt.close("all")


def png(fig):
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    return buffer.getvalue()


def luminance(colour):
    channels = np.array(matplotlib.colors.to_rgb(colour))
    channels = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return channels @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("role", ["data", "noise", "score", "drift", "exact", "green"])
def test_colours_stand_out_from_the_card(role):
    assert 1.05 / (luminance(plotting.COLORS[role]) + 0.05) >= 3  # WCAG 2.2, graphical objects


def test_roles_differ():
    roles = ["data", "noise", "score", "exact", "green", "purple", "sky"]
    assert len({plotting.COLORS[role] for role in roles}) == len(roles)
    assert plotting.COLORS["score"] == plotting.COLORS["drift"]
    cycle = [colour["color"].upper() for colour in plt.rcParams["axes.prop_cycle"]]
    assert [f"#{colour.strip('#')}" for colour in cycle[:2]] == [plotting.COLORS["data"], plotting.COLORS["score"]]


@pytest.mark.parametrize("cols", [1, 2])
def test_figures_are_opaque_light_and_narrow(cols):
    fig, _ = plotting.figure(1, cols)
    assert fig.get_figwidth() == plotting.WIDTH <= 6.5
    assert min(plt.rcParams["font.size"], *(t.get_size() for t in fig.axes[0].get_xticklabels())) >= 11
    corner = plt.imread(io.BytesIO(png(fig)))[0, 0]
    assert corner.tolist() == [1, 1, 1, 1]


def test_three_panels_side_by_side_are_refused():
    with pytest.raises(ValueError, match="at most 2 panels side by side, got cols=3"):
        plotting.figure(1, 3)


def test_same_numbers_same_picture():
    def draw():
        fig, ax = plotting.figure()
        plotting.field(ax, np.arange(6.0).reshape(2, 3))
        return png(fig)

    assert draw() == draw()


def test_field_runs_to_the_right_and_upwards():
    fig, ax = plotting.figure()
    u = np.arange(6.0).reshape(3, 2)  # 3 cells in x, 2 in y
    assert plotting.field(ax, u, label="u (K)") is ax
    (image,) = ax.images
    assert image.origin == "lower" and image.get_extent() == [0, 3, 0, 2] and image.get_cmap().name == "viridis"
    assert image.get_array()[0].tolist() == [0, 2, 4]
    assert fig.axes[1].get_ylabel() == "u (K)"


def test_image_grid_tiles_in_reading_order():
    _, ax = plotting.figure()
    images = np.stack([np.full((2, 3, 1), value) for value in (-1.0, 0.0, 1.0)])
    assert plotting.image_grid(ax, images, columns=2, gap=1, row_labels=["a", "b"]) is ax
    sheet = ax.images[0].get_array()
    assert sheet.shape == (5, 7)
    assert (sheet[0, 0], sheet[0, 4], sheet[3, 0]) == (-1, 0, 1)
    assert np.ma.getmaskarray(sheet)[2].all() and np.ma.getmaskarray(sheet)[3, 4]
    assert ax.get_yticks().tolist() == [0.5, 3.5]


@pytest.mark.parametrize("shape", [(8, 8), (0, 8, 8, 1), (3, 8, 8, 3)])
def test_image_grid_refuses_what_are_no_images(shape):
    _, ax = plotting.figure()
    with pytest.raises(ValueError, match=r"shape \(n, h, w, 1\)"):
        plotting.image_grid(ax, np.zeros(shape))


def test_distribution_has_unit_area_under_the_exact_density():
    _, ax = plotting.figure()
    samples = np.random.default_rng(0).uniform(0, 2, (50, 20))
    assert plotting.distribution(ax, samples, bins=10, span=(0, 2), density=lambda x: 0 * x + 0.5) is ax
    assert sum(bar.get_height() * bar.get_width() for bar in ax.patches) == pytest.approx(1)
    (line,) = ax.lines
    assert line.get_color() == plotting.COLORS["exact"] and set(line.get_ydata()) == {0.5}
    assert line.is_dashed()


def test_paths_share_one_legend_entry():
    _, ax = plotting.figure()
    assert plotting.paths(ax, np.arange(5), np.zeros((5, 3)), label="walks") is ax
    assert len(ax.lines) == 3 and ax.get_legend_handles_labels()[1] == ["walks"]
