"""Real pictures, each with a part held out."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np

from diffbook._checks import require, require_choice

_HELD_OUT = 40  # of each digit

FASHION_CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
_FASHION_DEBIAN = "/usr/share/datasets/fashion-mnist"
_FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_FASHION_SHA256 = {  # of the unpacked files: the compressed ones differ from one distributor to the next
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


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


def fashion_mnist(split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Fashion-MNIST, 28 x 28 pixels: 60,000 pictures of clothes to train on and 10,000 held out, ten classes.

    Read from Debian's package `dataset-fashion-mnist` where it is installed, else downloaded once (30 MB) to the
    folder that pooch keeps for caches, or to `$DIFFBOOK_DATA`. Whatever the source, the SHA-256 of the unpacked
    file is checked. `FASHION_CLASSES` names the classes.

    Args:
      split: "train" or "test".
    Returns: (images, labels): shape (n, 28, 28, 1), float32 in [-1, 1], empty -1 and full 1, in 256 levels;
      shape (n,), int32.
    Raises: ValueError: for another split, or a file that is not the published one.  OSError: if the set is neither
      installed nor to be had from the network.
    References: Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747.
    """
    require_choice(split, ("train", "test"), "split", "fashion_mnist")
    stem = "train" if split == "train" else "t10k"
    pixels = np.frombuffer(_fashion_file(f"{stem}-images-idx3-ubyte"), np.uint8, offset=16)
    labels = np.frombuffer(_fashion_file(f"{stem}-labels-idx1-ubyte"), np.uint8, offset=8)
    images = pixels.reshape(-1, 28, 28, 1).astype(np.float32) / np.float32(127.5) - 1
    return images, labels.astype(np.int32)


def _fashion_file(name):
    """The unpacked bytes of one published file, from Debian's folder, the cache or the network."""
    packed = Path(_FASHION_DEBIAN, f"{name}.gz")
    if not packed.exists():
        packed = _fashion_download(f"{name}.gz")
    try:
        content = gzip.decompress(packed.read_bytes())
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"fashion_mnist needs whole files, but {packed} is cut short or no gzip; delete it") from error
    digest = hashlib.sha256(content).hexdigest()
    require(
        digest == _FASHION_SHA256[name],
        f"fashion_mnist needs the published {name} (SHA-256 {_FASHION_SHA256[name][:12]}...), got {digest[:12]}... "
        f"from {packed}; delete that file and try again",
    )
    return content


def _fashion_download(name):
    import pooch  # only who downloads needs it

    folder = os.environ.get("DIFFBOOK_DATA") or pooch.os_cache("diffbook")
    try:
        return Path(pooch.retrieve(_FASHION_URL + name, known_hash=None, fname=name, path=folder))
    except OSError as error:
        raise OSError(
            f"fashion_mnist found no {_FASHION_DEBIAN} and could not fetch {_FASHION_URL + name} ({error}); install "
            f"Debian's package dataset-fashion-mnist, or put the four .gz files into {folder}"
        ) from error
