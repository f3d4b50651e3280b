"""A small convolutional classifier, whose last hidden layer serves as the eye that judges generated pictures."""

from flax import nnx

from diffbook._checks import require
from diffbook.generative.unet import Conv, patches


def _pool(x):
    """The largest of each 2 x 2 square; an odd last row and column are dropped."""
    n, h, w, c = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


class Classifier(nnx.Module):
    """Three 3 x 3 convolutions on patches of 2 x 2 pixels, two poolings and a hidden layer: logits of the classes.

    Args:
      width: channels of the first two convolutions; the third has twice as many.
      num_features: size of the hidden layer, the features by which samples are compared.
      num_classes: number of logits.  dropout: rate in training.  rngs: for the start and for dropout.

    >>> import jax.numpy as jnp
    >>> model = Classifier(width=8, num_features=16, rngs=nnx.Rngs(0))
    >>> see = nnx.jit(lambda model, x: (model(x), model.features(x)))
    >>> [seen.shape for seen in see(model, jnp.zeros((3, 28, 28, 1)))]
    [(3, 10), (3, 16)]
    """

    def __init__(self, *, width=48, num_features=64, num_classes=10, dropout=0.3, rngs: nnx.Rngs):
        sizes = ((4, width), (width, width), (width, 2 * width))
        self.convs = nnx.Sequential(*[Conv(a, b, rngs=rngs) for a, b in sizes])
        self.hidden = nnx.Linear(9 * 2 * width, num_features, rngs=rngs)
        self.out = nnx.Linear(num_features, num_classes, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def features(self, x):
        """The hidden layer, shape (n, num_features), not negative. x: (n, 28, 28, 1) in [-1, 1]."""
        require(x.shape[1:] == (28, 28, 1), f"Classifier needs pictures of shape (n, 28, 28, 1), got {x.shape}")
        first, second, third = self.convs.layers
        h = nnx.relu(first(patches(x, 2)))
        h = _pool(nnx.relu(second(h)))
        h = _pool(nnx.relu(third(h)))
        return nnx.relu(self.hidden(self.dropout(h.reshape(len(h), -1))))

    def __call__(self, x):
        return self.out(self.features(x))
