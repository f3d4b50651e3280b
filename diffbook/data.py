"""Real pictures, each with a part held out, and films made of them."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np

from diffbook._checks import require, require_choice, require_count

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


def move(images, start, velocity, *, num_frames: int = 8, size: tuple[int, int] = (8, 12)) -> np.ndarray:
    r"""Films of pictures that move in straight lines and bounce off the walls of a canvas of paper.

    Along each axis the corner of the picture is at $p_i = L - |L - (p_0 + v i) \bmod 2L|$ in frame i, a triangle wave,
    where L is the room that the picture has: it stays on the canvas, and moves by |v| from each frame to the next.

    Args:
      images: shape (n, h, w, 1), values in [-1, 1], paper -1.
      start: corner in frame 0, shape (n, 2): row and column, integers in 0 ... L.
      velocity: shape (n, 2), pixels per frame, -1, 0 or 1, so that no pixel is ever interpolated; 0 where L = 0.
      num_frames: frames of a film.  size: height and width of the canvas, pixels.
    Returns: shape (n, num_frames, *size, 1), dtype of the images; every frame holds the same ink.
    Raises: ValueError: for shapes that do not fit, a start off the canvas, or another velocity.

    >>> film = move(np.ones((1, 1, 1, 1)), [[0, 0]], [[0, 1]], num_frames=5, size=(1, 3))
    >>> film[0, :, 0, :, 0].argmax(-1)
    array([0, 1, 2, 1, 0])
    """
    images, start, velocity = np.asarray(images), np.asarray(start), np.asarray(velocity)
    num_frames = require_count(num_frames, "num_frames", "move", 1)
    require(
        images.ndim == 4 and images.shape[3] == 1 and images.shape[1] <= size[0] and images.shape[2] <= size[1],
        f"move needs images (n, h, w, 1) no larger than size={size}, got {images.shape}; take a larger canvas",
    )
    n, side, room = len(images), np.array(images.shape[1:3]), np.array(size) - images.shape[1:3]
    require(
        start.shape == velocity.shape == (n, 2) and start.dtype.kind in "iu" and velocity.dtype.kind in "iu",
        f"move needs integers start and velocity of shape {(n, 2)}, got {start.dtype}{start.shape} and "
        f"{velocity.dtype}{velocity.shape}; give a row and a column for each picture",
    )
    require(
        bool(((start >= 0) & (start <= room)).all()) and bool((np.abs(velocity) <= np.minimum(room, 1)).all()),
        f"move needs 0 <= start <= {room} and velocity -1, 0 or 1, 0 where there is no room, got start up to "
        f"{start.max(0)} and speeds up to {np.abs(velocity).max(0)}; take a larger canvas or another start",
    )
    steps = np.arange(num_frames)[None, :, None]
    corner = room - np.abs(room - (start[:, None] + velocity[:, None] * steps) % np.maximum(2 * room, 1))
    rows, columns = (corner[..., axis, None] + np.arange(side[axis]) for axis in (0, 1))
    films = np.full((n, num_frames, *size, 1), -1, images.dtype)
    which, frame = np.arange(n)[:, None, None, None], np.arange(num_frames)[None, :, None, None]
    films[which, frame, rows[..., :, None], columns[..., None, :]] = images[:, None]
    return films


def moving_digits(
    split: str = "train", count: int = 1000, *, seed: int, num_frames: int = 8, size: tuple[int, int] = (8, 12)
) -> tuple[np.ndarray, np.ndarray]:
    """Films of the real handwritten digits of `digits(split)`, each moving and bouncing as `move` says.

    Digits are drawn with repetition, starts uniformly over the places on the canvas, velocities uniformly over those
    that are not rest (two where there is room along one axis only, else eight), by `numpy.random.default_rng(seed)`.
    No digit of one split is ever seen in the other.

    Args:
      split: "train" or "test".  count: number of films.  seed: of the draw.
      num_frames: frames of a film.  size: height and width of the canvas, pixels, 8 or more and not both 8.
    Returns: (films, labels): shape (count, num_frames, *size, 1), float32 in [-1, 1]; shape (count,), int32.
    Raises: ValueError: for another split, or a canvas that leaves no room to move.

    >>> films, labels = moving_digits("test", 5, seed=0)
    >>> films.shape, labels.shape
    ((5, 8, 8, 12, 1), (5,))
    """
    count = require_count(count, "count", "moving_digits", 1)
    images, labels = digits(split)
    room = np.array(size) - 8
    require(bool((room >= 0).all() and room.any()), f"moving_digits needs room to move, got {size=}; take e.g. (8, 12)")
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(images), size=count)
    start = rng.integers(room + 1, size=(count, 2))
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    steps = np.array([step for step in steps if (np.abs(step) <= room).all()])
    velocity = steps[rng.integers(len(steps), size=count)]
    return move(images[chosen], start, velocity, num_frames=num_frames, size=size), labels[chosen]


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
