"""The digits: what they are, and that nothing of the held-out part is in the training part."""

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
