"""Real pictures, each with a part held out."""

import numpy as np

from diffbook._checks import require_choice

_HELD_OUT = 40  # of each digit


def digits(split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits, 8 x 8 pixels: the 1,797 pictures of the UCI set that scikit-learn ships.

    Of each of the ten digits 40 pictures, drawn once with `numpy.random.default_rng(0)`, are held out: 400 for "test"
    and 1,397 for "train". The order within a split is random too, and fixed. The same 13 people wrote both parts.

    Args:
      split: "train" or "test".
    Returns: (images, labels): shape (n, 8, 8, 1), float32 in [-1, 1], paper -1 and full ink 1, in 17 grey levels;
      shape (n,), int32.
    Raises: ValueError: for another split.
    References: Alpaydin & Kaynak 1998, UCI Machine Learning Repository.

    >>> images, labels = digits("test")
    >>> images.shape, np.bincount(labels)
    ((400, 8, 8, 1), array([40, 40, 40, 40, 40, 40, 40, 40, 40, 40]))
    """
    require_choice(split, ("train", "test"), "split", "digits")
    from sklearn.datasets import load_digits  # a second of import that the rest of the module should not cost

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    labels = bunch.target[order]
    held_out = np.zeros(len(labels), bool)
    for digit in range(10):
        held_out[np.flatnonzero(labels == digit)[:_HELD_OUT]] = True
    chosen = order[held_out if split == "test" else ~held_out]
    images = (bunch.images[chosen, :, :, None] / 8 - 1).astype(np.float32)
    return images, bunch.target[chosen].astype(np.int32)
