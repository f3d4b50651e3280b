"""Weights that ship with the package, and the networks that they fit."""

import io
import json
import zipfile
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from diffbook._checks import require, require_choice
from diffbook.generative.classifier import Classifier
from diffbook.generative.unet import UNet

SHIPPED = Path(__file__).with_name("weights")
NETWORKS = {
    "fashion_mnist": partial(UNet, num_classes=10),
    "fashion_mnist_classifier": Classifier,
}


def _leaves(model):
    """Name and array of every parameter, in a fixed order."""
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def pack(path, model, *, about: dict) -> None:
    """Write the parameters of `model` in half precision, with JSON facts about the run that made them."""
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
        arrays = {name: np.asarray(leaf, np.float16) for name, leaf in _leaves(model).items()}
    require(
        all(np.isfinite(a).all() for a in arrays.values()),
        f"{path} needs finite parameters within half precision, got NaN, infinity or more than 65504; train again",
    )
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=json.dumps(about), **arrays)
    part = Path(path).with_suffix(".part")
    part.write_bytes(buffer.getvalue())
    part.replace(path)


def unpack(path, model) -> dict:
    """Load into `model` what `pack` wrote; returns the facts.

    Raises: ValueError: if names or shapes are not the model's, or the file is damaged.  OSError: if there is none.
    """
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"unpack needs a whole file, but {path} is cut short or no archive; install again") from error
    about = json.loads(str(arrays.pop("about")))
    wanted = {name: leaf.shape for name, leaf in _leaves(model).items()}
    found = {name: array.shape for name, array in arrays.items()}
    differing = sorted(set(wanted.items()) ^ set(found.items()))
    require(
        not differing,
        f"{path} holds parameters of another network (differing: {differing[:4]}); "
        "use the network and the weights of one version of the package",
    )
    state = nnx.state(model, nnx.Param)
    leaves, tree = jax.tree.flatten(state)
    named = [jnp.asarray(array, leaf.dtype) for array, leaf in zip((arrays[n] for n in wanted), leaves, strict=True)]
    nnx.update(model, jax.tree.unflatten(tree, named))
    return about


def _unfilled(make):
    """The network without its random start, whose thirty small programs would take longer to compile than to read."""
    graph, params, rest = nnx.split(nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0))), nnx.Param, ...)

    def real(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.key(0) if is_key else jnp.zeros(leaf.shape, leaf.dtype)

    return nnx.merge(graph, params, jax.tree.map(real, rest))


def pretrained(name: str, *, dtype=None):
    """A network with the weights that ship with the package, in evaluation mode.

    Args:
      name: "fashion_mnist", a class-conditional `UNet` that predicts v under `vp_cosine()`, called as
        model(x, t, label), label 0 ... 9 or 10 for none; or "fashion_mnist_classifier", a `Classifier`.
      dtype: of the arithmetic of the `UNet`, e.g. jnp.bfloat16; single precision if left out.
    Returns: an nnx.Module, a fresh one for each call. `weights/README.md` has the command, the seed and the time.
    Raises: ValueError: for another name, or a dtype for the classifier.

    >>> model = nnx.jit(pretrained("fashion_mnist"))
    >>> model(jnp.zeros((2, 28, 28, 1)), 0.5, jnp.array([3, 10])).shape
    (2, 28, 28, 1)
    """
    require_choice(name, tuple(NETWORKS), "name", "pretrained")
    require(
        dtype is None or name == "fashion_mnist",
        f"pretrained needs dtype=None for {name}, got {dtype}; only the U-Net computes in another precision",
    )
    model = _unfilled(NETWORKS[name] if dtype is None else partial(NETWORKS[name], dtype=dtype))
    unpack(SHIPPED / f"{name}.npz", model)
    model.eval()
    return model
