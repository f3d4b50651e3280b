"""The digits and the films of them: what they are, and that nothing held out is in the training part."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from diffbook import data


@pytest.fixture(scope="module")
def splits():
    return {split: data.digits(split) for split in ("train", "test")}


def test_shape_dtype_range(splits):
    for split, count in (("train", 1397), ("test", 400)):
        images, labels = splits[split]
        assert images.shape == (count, 8, 8, 1) and images.dtype == np.float32
        assert labels.shape == (count,) and labels.dtype == np.int32
        assert images.min() == -1 and images.max() == 1
        assert np.array_equal(images * 8, np.round(images * 8))  # the 17 grey levels of the source


def test_held_out_part_is_balanced_and_fixed(splits):
    images, labels = splits["test"]
    assert np.array_equal(np.bincount(labels), [40] * 10)
    again = data.digits("test")
    assert np.array_equal(images, again[0]) and np.array_equal(labels, again[1])


def test_the_splits_share_no_picture_and_lose_none(splits):
    from sklearn.datasets import load_digits

    rows = {split: {image.tobytes() for image in images} for split, (images, _) in splits.items()}
    assert not rows["train"] & rows["test"]
    source = {(image / 8 - 1).astype(np.float32).tobytes() for image in load_digits().images}
    assert rows["train"] | rows["test"] == source


def test_labels_belong_to_the_pictures(splits):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    known = {(i / 8 - 1).astype(np.float32).tobytes(): t for i, t in zip(bunch.images, bunch.target, strict=True)}
    for images, labels in splits.values():
        assert [known[image.tobytes()] for image in images] == labels.tolist()


def test_bad_split():
    with pytest.raises(ValueError, match="one of 'train', 'test', got split='validation'"):
        data.digits("validation")


def test_films_are_fixed_by_the_seed_and_made_of_their_own_split(splits):
    for split, (images, labels) in splits.items():
        films, film_labels = data.moving_digits(split, 40, seed=3)
        assert films.shape == (40, 8, 8, 12, 1) and films.dtype == np.float32
        again, _ = data.moving_digits(split, 40, seed=3)
        assert np.array_equal(films, again)
        assert not np.array_equal(films, data.moving_digits(split, 40, seed=4)[0])
        known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
        for film, label in zip(films, film_labels, strict=True):
            inside = {film[0, :, c : c + 8].tobytes() for c in range(5)} & known.keys()
            assert label in {known[image] for image in inside}


@pytest.mark.parametrize("size", [(8, 12), (12, 8), (11, 12)])
def test_digits_move_by_a_pixel_a_frame_turn_at_walls_and_keep_their_ink(size):
    films, _ = data.moving_digits("test", 60, seed=0, size=size, num_frames=11)
    ink = (films[..., 0] + 1).astype(float)
    np.testing.assert_allclose(ink.sum((2, 3)), ink[:, :1].sum((2, 3)).repeat(11, axis=1))
    speeds = []
    for axis in (0, 1):
        marginal = ink.sum(3 - axis)
        place = marginal @ np.arange(size[axis]) / marginal.sum(-1)
        speed = np.abs(np.diff(place, axis=1))
        assert np.allclose(speed, np.round(speed[:, :1]), atol=1e-6)  # the same all along, turning included
        assert np.ptp(place, axis=1).max() <= size[axis] - 8 + 1e-6
        speeds.append(np.round(speed[:, 0]))
    assert np.array(speeds).max(0).min() == 1  # nobody rests
    assert [s.max() for s in speeds] == [float(n > 8) for n in size]


def test_the_path_is_the_triangle_wave():
    dot = np.ones((2, 1, 1, 1), np.float32)
    film = data.move(dot, [[0, 2], [1, 0]], [[1, -1], [0, -1]], num_frames=6, size=(2, 4))
    at = [[tuple(np.argwhere(frame[..., 0] > 0)[0]) for frame in one] for one in film]
    assert at[0] == [(0, 2), (1, 1), (0, 0), (1, 1), (0, 2), (1, 3)]
    assert at[1] == [(1, 0), (1, 1), (1, 2), (1, 3), (1, 2), (1, 1)]  # heading into the wall is heading away


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: data.move(np.ones((1, 8, 8, 1)), [[0, 0]], [[0, 1]], size=(8, 7)), "no larger than size"),
        (lambda: data.move(np.ones((1, 2, 2, 1)), [[0, 3]], [[0, 1]], size=(2, 4)), "0 <= start"),
        (lambda: data.move(np.ones((1, 2, 2, 1)), [[0, 0]], [[1, 0]], size=(2, 4)), "0 where there is no room"),
        (lambda: data.move(np.ones((1, 2, 2, 1)), [[0, 0.5]], [[0, 1]], size=(2, 4)), "needs integers"),
        (lambda: data.moving_digits("test", 5, seed=0, size=(8, 8)), "room to move"),
        (lambda: data.moving_digits("all", 5, seed=0), "one of 'train', 'test'"),
    ],
)
def test_bad_films(call, message):
    with pytest.raises(ValueError, match=message):
        call()


needs_fashion = pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").exists(),
    reason="needs Fashion-MNIST: apt-get install dataset-fashion-mnist (.ci/run does)",
)


@needs_fashion
@pytest.mark.parametrize("split, count", [("train", 60_000), ("test", 10_000)])
def test_fashion_is_whole_balanced_and_in_range(split, count):
    images, labels = data.fashion_mnist(split)
    assert images.shape == (count, 28, 28, 1) and images.dtype == np.float32
    assert labels.dtype == np.int32 and np.array_equal(np.bincount(labels), [count // 10] * 10)
    assert images.min() == -1 and images.max() == 1
    levels = (images[:100] + 1) * 127.5
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    assert len(data.FASHION_CLASSES) == 10


@needs_fashion
def test_trousers_are_trousers():
    """Trousers have a gap between the legs: dark in the middle of the lower half, bright on both sides."""
    images, labels = data.fashion_mnist("test")
    mean = images[labels == data.FASHION_CLASSES.index("trouser")].mean(0)[..., 0]
    assert mean[22, 13:15].mean() < mean[22, 10] - 0.3 and mean[22, 13:15].mean() < mean[22, 17] - 0.3


def test_a_damaged_or_foreign_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_FASHION_DEBIAN", str(tmp_path))
    packed = tmp_path / "train-images-idx3-ubyte.gz"
    packed.write_bytes(gzip.compress(bytes(100)))
    with pytest.raises(ValueError, match="the published train-images"):
        data.fashion_mnist()
    packed.write_bytes(packed.read_bytes()[:20])
    with pytest.raises(ValueError, match="cut short"):
        data.fashion_mnist()


def test_no_data_and_no_network_say_how_to_get_it(tmp_path, monkeypatch):
    import pooch

    def refuse(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(data, "_FASHION_DEBIAN", str(tmp_path / "absent"))
    monkeypatch.setattr(pooch, "retrieve", refuse)
    with pytest.raises(OSError, match="dataset-fashion-mnist"):
        data.fashion_mnist("test")


def test_an_unknown_fashion_split():
    with pytest.raises(ValueError, match="split"):
        data.fashion_mnist("validation")
