"""Pictures from a trained network: one call, compiled once per number of pictures and of steps."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from diffbook._checks import check_key, require, require_count, static_value
from diffbook.generative.flow_samplers import sample_flow, sde_dpm_solver_pp_2m
from diffbook.generative.guidance import classifier_free
from diffbook.generative.schedules import vp_cosine


def asking_times(num_steps: int) -> Float[Array, " times"]:
    r"""The grid of `generate`, $t = (k/n)^{1.15}$ for k = n, ..., 0: steps a little longer where there is much noise.

    In ten calls even steps bring the network's pictures a little nearer to real ones, in fifty they do not; these
    get the class right more often in both. `weights/README.md` has the table, with other exponents.

    Returns: shape (num_steps + 1,), falling from 1 to 0.
    """
    return jnp.linspace(1.0, 0.0, num_steps + 1) ** 1.15


def generate(
    model,
    labels,
    *,
    key,
    num_steps: int = 50,
    guidance: float = 0.0,
    interval: tuple[float, float] = (0.0, 1.0),
    step=sde_dpm_solver_pp_2m,
):
    r"""Pictures of the given classes, from noise along the reverse SDE of `vp_cosine()`, or its flow.

    Args:
      model: as from `pretrained("fashion_mnist")`: predicts v, called as model(x, t, label), has `num_classes` and
        `shape`, and takes `num_classes` itself for "no class".
      labels: shape (n,), integers in 0 ... num_classes.  key: typed random key, for all noise.
      num_steps: network calls, >= 1; those with guidance count double.
      guidance: w >= 0 of `classifier_free`. 0 samples what was learned; more looks more typical and varies less.
      interval: the times between which guidance acts. The network is asked at all of `asking_times` but the last.
      step: of `sample_flow`. Those of the flow, `ddim`, `heun` (twice the calls), `dpm_solver_pp_2m`, give the same
        pictures for any num_steps, up to the error of the steps; those of the SDE wear off the network's errors.
    Returns: shape (n, h, w, c), float32 in [-1, 1].
    Raises: ValueError: for labels out of range, num_steps < 1, a negative guidance, an empty interval.
    References: Lu et al. 2022 (DPM-Solver++); Ho & Salimans 2022, eq. (6); Kynkaanniemi et al. 2024.

    >>> from diffbook.generative.pretrained import pretrained
    >>> generate(pretrained("fashion_mnist"), [0, 9], key=jax.random.key(0), num_steps=2).shape
    (2, 28, 28, 1)
    """
    check_key(key, "generate")
    num_steps = require_count(num_steps, "num_steps", "generate", 1)
    labels = jnp.asarray(labels)
    require(
        labels.ndim == 1 and jnp.issubdtype(labels.dtype, jnp.integer),
        f"generate needs integer labels of shape (n,), got {labels.dtype}{list(labels.shape)}; pass e.g. [0, 0, 7]",
    )
    value = static_value(labels)
    require(
        value is None or bool(((value >= 0) & (value <= model.num_classes)).all()),
        f"generate needs labels in 0 ... {model.num_classes}, got {value}; {model.num_classes} stands for no class",
    )
    require(guidance >= 0, f"generate needs guidance >= 0, got {guidance=}; 0 is none, 1 to 3 are common")
    graph, state = nnx.split(model)
    interval = None if interval[0] <= 0 and interval[1] >= 1 else tuple(map(float, interval))
    fixed = dict(graph=graph, num_steps=num_steps, step=step, guided=guidance > 0, interval=interval)
    return _generate(state, labels, key, guidance, **fixed)


@partial(jax.jit, static_argnames=("graph", "num_steps", "step", "guided", "interval"))
def _generate(state, labels, key, guidance, *, graph, num_steps, step, guided, interval) -> Float[Array, "n h w c"]:
    model = nnx.merge(graph, state)
    weight = guidance if guided else 0.0
    predict = classifier_free(model, labels, weight, no_class=model.num_classes, interval=interval)
    start_key, walk_key = jax.random.split(key)
    start = jax.random.normal(start_key, (len(labels), *model.shape))
    times = asking_times(num_steps)
    pictures = sample_flow(predict, start, times, vp_cosine(), kind="v", step=step, limit=1.0, key=walk_key)
    return jnp.clip(pictures, -1.0, 1.0)
