"""The digits: what they are, and that nothing of the held-out part is in the training part."""

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
