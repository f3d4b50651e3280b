"""How good are generated samples? Each number stands beside the one that real data get.

All of it is plain NumPy in float64: these are verdicts, computed once, not kernels.
"""

import numpy as np

from diffbook._checks import require

_AT_ONCE = 500  # rows of a table of distances


def _rows(x, name):
    """One flat row of float64 features per sample."""
    x = np.asarray(x, np.float64)
    require(x.ndim >= 2 and len(x) >= 2, f"{name} needs shape (n >= 2, ...), got {x.shape}; stack the samples first")
    require(bool(np.isfinite(x).all()), f"{name} needs finite numbers, got NaN or infinity; look at the sampler first")
    return x.reshape(len(x), -1)


def _pair(x, y, where):
    x, y = _rows(x, where), _rows(y, where)
    require(
        x.shape[1] == y.shape[1],
        f"{where} needs samples of one size, got {x.shape[1]} and {y.shape[1]} features; bring both to one shape",
    )
    return x, y


def _sqrt(matrix):
    """Root of a symmetric positive semi-definite matrix; eigenvalues that rounding made negative count as zero."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def frechet_distance(x, y) -> float:
    r"""Squared Wasserstein-2 distance of the two Gaussians that share the mean and covariance of the samples,
    $|m_x - m_y|^2 + \operatorname{tr}\big(C_x + C_y - 2\,(C_x^{1/2} C_y C_x^{1/2})^{1/2}\big)$.

    The features are the flattened samples themselves. It is blind beyond second moments, and biased upwards by about
    1/n: compare only at equal sample sizes, and with `frechet_floor`.

    Args:
      x, y: samples, shapes (n, ...) and (m, ...). Covariances have the divisor n - 1.
    Returns: a number in squared units of the data, 0 for equal moments.
    Raises: ValueError: for unequal feature counts, fewer than two samples, or numbers that are not finite.
    References: Dowson & Landau 1982, eq. (4); as a score of generators Heusel et al. 2017, eq. (6).

    >>> round(frechet_distance([[0.0], [2.0]], [[3.0], [5.0]]), 12)
    9.0
    """
    x, y = _pair(x, y, "frechet_distance")
    cx, cy = (np.atleast_2d(np.cov(z, rowvar=False)) for z in (x, y))
    root = _sqrt(cx)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cy @ root), 0)).sum()
    gap = x.mean(0) - y.mean(0)
    return float(max(gap @ gap + np.trace(cx) + np.trace(cy) - 2 * cross, 0.0))


def frechet_floor(train, test, *, train_labels, test_labels, num_draws=20, seed=0) -> tuple[float, float]:
    """Frechet distance of real data to the held-out part: what a perfect generator would get at this sample size.

    Each draw takes, without repetition, as many training samples as there are test samples, with the classes in the
    test set's proportions.

    Args:
      train, test: shapes (m, ...), (n, ...).  train_labels, test_labels: (m,), (n,) integers.
      num_draws: number of random subsets.  seed: of their choice.
    Returns: (mean, standard deviation) over the draws.
    Raises: ValueError: if a class has more test than training samples.
    """
    train, test = _pair(train, test, "frechet_floor")
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(test_labels, return_counts=True)
    pools = [np.flatnonzero(train_labels == c) for c in classes]
    for c, count, pool in zip(classes, counts, pools, strict=True):
        require(
            count <= len(pool),
            f"frechet_floor needs as many training as test samples, got {len(pool)} < {count} of class {c}; "
            "hold fewer out",
        )
    distances = []
    for _ in range(num_draws):
        rows = [rng.permutation(pool)[:count] for count, pool in zip(counts, pools, strict=True)]
        distances.append(frechet_distance(train[np.concatenate(rows)], test))
    return float(np.mean(distances)), float(np.std(distances))


def nearest_neighbours(x, train) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distance from each sample to the nearest one in `train`, and which one that is.

    Args:
      x, train: shapes (n, ...) and (m, ...).
    Returns: (distances, indices), each of shape (n,).
    """
    x, train = _pair(x, train, "nearest_neighbours")
    sizes = (train**2).sum(1)[None]
    parts = np.split(x, range(_AT_ONCE, len(x), _AT_ONCE))  # a table of all pairs would not fit for large sets
    nearest = np.concatenate([(sizes - 2 * part @ train.T).argmin(1) for part in parts])
    return np.linalg.norm(x - train[nearest], axis=1), nearest  # without the cancellation of the line above


def nearest_neighbour_ratio(samples, train, heldout) -> float:
    """Mean distance from the samples to the nearest training image over that from held-out real images to theirs.

    1 means: as new as new handwriting. Near 0: copies of the training set. Above 1: unlike any digit, or noisy.

    Args:
      samples, train, heldout: shapes (n, ...), (m, ...), (k, ...).
    """
    return float(nearest_neighbours(samples, train)[0].mean() / nearest_neighbours(heldout, train)[0].mean())


def class_agreement(samples, labels, train, train_labels) -> float:
    """Fraction of samples in which a classifier trained on real images sees the class that was asked for.

    The classifier is scikit-learn's support vector machine with a Gaussian kernel (C = 10, gamma = "scale") on
    flattened images. Held-out real images in place of the samples give its accuracy, the number to compare with.

    Args:
      samples, labels: shapes (n, ...), (n,).  train, train_labels: real images and their classes.
    Returns: a number in [0, 1].
    """
    from sklearn.svm import SVC

    samples, train = _pair(samples, train, "class_agreement")
    labels, train_labels = np.asarray(labels), np.asarray(train_labels)
    require(
        labels.shape == (len(samples),),
        f"class_agreement needs one label per sample, got {labels.shape} for {len(samples)} samples",
    )
    return float(SVC(C=10.0, gamma="scale").fit(train, train_labels).score(samples, labels))
