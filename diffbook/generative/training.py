"""Training as a generator: the page owns the progress, the plots and when to stop; nothing here prints a result."""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from diffbook._checks import check_key, require, require_count
from diffbook.generative import checkpoint as checkpoints


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Minibatches:
    """`minibatches(...)(step)`: the batch of that step, whoever asks and however often."""

    arrays: tuple
    key: jax.Array
    batch_size: int = dataclasses.field(metadata={"static": True})
    sharding: jax.sharding.Sharding | None = dataclasses.field(metadata={"static": True})

    def __call__(self, step):
        chosen = jax.random.randint(jax.random.fold_in(self.key, step), (self.batch_size,), 0, len(self.arrays[0]))
        batch = tuple(array[chosen] for array in self.arrays)
        return batch if self.sharding is None else jax.lax.with_sharding_constraint(batch, self.sharding)


def minibatches(arrays, batch_size: int, *, key, sharding=None) -> Minibatches:
    """Batches as a pure function of the step: rows drawn with repetition, the same for the same step on any machine.

    A run that resumes therefore needs no state of an iterator. The arrays stay on the device.

    Args:
      arrays: tuple of arrays with equal first axis, e.g. (images, labels).
      batch_size: rows per batch.  key: typed random key.
      sharding: spreads the rows of a batch over devices, e.g. NamedSharding(mesh, P("data")) with a mesh of
        Auto axes.
    Returns: a callable, step -> tuple of arrays.
    Raises: ValueError: for arrays of unequal length or a bad size.

    >>> batches = minibatches((jnp.arange(5), jnp.arange(5) ** 2), 3, key=jax.random.key(0))
    >>> x, y = batches(7)
    >>> x.shape, bool((y == x**2).all())
    ((3,), True)
    """
    check_key(key, "minibatches")
    arrays = tuple(jnp.asarray(a) for a in arrays)
    sizes = [len(a) for a in arrays]
    require(
        len(set(sizes)) == 1 and sizes[0] > 0,
        f"minibatches needs arrays of one length above 0, got lengths {sizes}; pass a tuple of paired arrays",
    )
    return Minibatches(arrays, key, require_count(batch_size, "batch_size", "minibatches", 1), sharding)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    """All that changes in training: parameters, their moving average, the optimizer's and the layers' own state."""

    params: Any
    average: Any
    optimizer: Any
    rest: Any
    step: jax.Array


def initial_state(model, optimizer) -> tuple[Any, State]:
    """The static half of the model, and the state at step 0. The arrays are copies: training gives them away."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    copy = functools.partial(jax.tree.map, jnp.copy)
    return graph, State(copy(params), copy(params), optimizer.init(params), copy(rest), jnp.zeros((), jnp.int32))


def train_step(state: State, batch, key, *, graph, loss, optimizer, ema) -> tuple[State, jax.Array]:
    r"""One step of the optimizer and of the moving average $\bar\theta \leftarrow d\bar\theta + (1 - d)\theta$ with
    $d = \min(\text{ema}, (1 + k)/(10 + k))$, which forgets the start quickly.

    Args:
      state, graph: as from `initial_state`.  batch: handed to loss(model, batch, key).
      key: of the run; the step's own is folded from it.  optimizer: an optax transformation.  ema: decay, in [0, 1).
    Returns: (state, loss), a pure function that jits, shards and exports.
    """

    def objective(params):
        model = nnx.merge(graph, params, state.rest, copy=True)
        value = loss(model, batch, jax.random.fold_in(key, state.step))
        return value, nnx.split(model, nnx.Param, ...)[2]

    (value, rest), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    updates, opt = optimizer.update(gradient, state.optimizer, state.params)
    params = jax.tree.map(lambda p, u: p + u.astype(p.dtype), state.params, updates)
    decay = jnp.minimum(ema, (1.0 + state.step) / (10.0 + state.step))
    average = jax.tree.map(lambda a, p: (decay * a + (1 - decay) * p).astype(a.dtype), state.average, params)
    return State(params, average, opt, rest, state.step + 1), value


def fit(
    model,
    batches,
    loss,
    *,
    num_steps: int,
    key,
    optimizer,
    ema: float = 0.999,
    every: int = 50,
    checkpoint=None,
    save_every: int = 500,
    callbacks=(),
    progress: bool = True,
) -> Iterator[tuple[int, float]]:
    """Train `model`, handing out (step, mean loss since the last) every so many steps.

    Between two yields the steps run inside one compiled loop. At each yield, and at the end, the model holds the moving
    average of its parameters, in evaluation mode, so that the page can sample from it.

    Args:
      model: an nnx.Module; changed in place.
      batches: callable, step -> batch, traceable and a pure function of the step: `minibatches(...)`.
      loss: loss(model, batch, key) -> scalar.
      num_steps: of the whole run, including those a checkpoint has done.
      key: typed random key.  optimizer: an optax transformation.
      ema: decay of the moving average, in [0, 1); 0 for none.
      every: steps between yields.
      checkpoint: folder for checkpoints; if it holds a whole one of this very run, the run goes on from there and ends
        with the same bits. None keeps nothing.
      save_every: steps between checkpoints; the last step is saved too.
      callbacks: called as callback(step, loss, model) before each yield.
      progress: a tqdm bar on standard error.
    Yields: (step, loss): steps done, and the mean loss of those since the last yield.
    Raises: ValueError: for bad arguments or a foreign checkpoint.  FloatingPointError: if the loss is NaN or infinite;
      the last checkpoint is from before.

    >>> import optax
    >>> model = nnx.Linear(1, 1, rngs=nnx.Rngs(0))
    >>> x = jnp.linspace(-1, 1, 16)[:, None]
    >>> loss = lambda model, batch, key: jnp.mean((model(batch[0]) - 3 * batch[0]) ** 2)
    >>> data = minibatches((x,), 8, key=jax.random.key(0))
    >>> for step, value in fit(model, data, loss, num_steps=200, every=100, key=jax.random.key(1),
    ...                        optimizer=optax.adam(0.1), ema=0.0, progress=False):
    ...     pass
    >>> step, round(float(model.kernel[0, 0]), 3)
    (200, 3.0)
    """
    check_key(key, "fit")
    num_steps = require_count(num_steps, "num_steps", "fit", 1)
    every, save_every = require_count(every, "every", "fit", 1), require_count(save_every, "save_every", "fit", 1)
    require(0 <= ema < 1, f"fit needs 0 <= ema < 1, got {ema=}; 0 turns the average off, 0.999 is common")
    return _run(
        model, batches, loss, num_steps, key, optimizer, ema, every, checkpoint, save_every, callbacks, progress
    )


def _run(model, batches, loss, num_steps, key, optimizer, ema, every, checkpoint, save_every, callbacks, progress):
    model.train()
    graph, state = initial_state(model, optimizer)
    step, about = 0, {"key": jax.random.key_data(key).tolist(), "ema": ema}
    found = None if checkpoint is None else checkpoints.restore(checkpoint, state, about=about)
    if found is not None:
        step, state = found
        require(step <= num_steps, f"fit needs num_steps >= the {step} of the checkpoint, got {num_steps=}")
    strides = (every,) if checkpoint is None else (every, save_every)
    leaves = jax.tree.leaves(batches)
    plain = (
        batches if len(leaves) == 1 and leaves[0] is batches else None
    )  # a function is no argument of a compiled one
    batches = batches if plain is None else None
    fixed = dict(plain=plain, graph=graph, loss=loss, optimizer=optimizer, ema=ema, every=every)
    _lend(model, state)
    saved = None if found is None else step
    bar = _bar(num_steps, step, progress)
    try:
        while step < num_steps:
            stop = min(num_steps, *((step // n + 1) * n for n in strides))
            state, losses, sound = jax.block_until_ready(_advance(state, batches, key, stop, **fixed))
            losses = jax.device_get(losses)[: stop - step]
            if not (sound and all(map(math.isfinite, losses))):
                _refuse(step, losses, f"that of step {saved} in {checkpoint}" if saved is not None else "none")
            bar.update(stop - step)
            step, value = stop, float(losses.mean())
            bar.set_postfix_str(f"loss {value:.4f}", refresh=False)
            if checkpoint is not None and (step % save_every == 0 or step == num_steps):
                checkpoints.save(checkpoint, step, state, about=about)
                saved = step
            _lend(model, state)
            for callback in callbacks:
                callback(step, value, model)
            yield step, value
    finally:
        bar.close()


@functools.partial(jax.jit, donate_argnums=0, static_argnames=("plain", "graph", "loss", "optimizer", "ema", "every"))
def _advance(state, batches, key, stop, *, plain, graph, loss, optimizer, ema, every):
    """The loop over steps as one executable for any stretch: a resumed run computes what an unbroken one does, bit for
    bit, wherever it was cut. The state's buffers are donated: parameters exist once."""
    start, batch_of = state.step, plain or batches

    def body(_, carry):
        state, losses = carry
        new, value = train_step(state, batch_of(state.step), key, graph=graph, loss=loss, optimizer=optimizer, ema=ema)
        return new, losses.at[state.step - start].set(value.astype(losses.dtype))

    state, losses = jax.lax.fori_loop(start, stop, body, (state, jnp.zeros(every, jnp.float32)))
    sound = [jnp.all(jnp.isfinite(p)) for p in jax.tree.leaves(state.params)]
    return state, losses, jnp.all(jnp.stack(sound))


def _refuse(start, losses, last):
    """The loss is finite up to a step, or throughout while the last update broke the parameters."""
    bad = next((i for i, value in enumerate(losses) if not math.isfinite(value)), len(losses))
    seen = (
        f"the loss of step {start + bad + 1} is {losses[bad]}"
        if bad < len(losses)
        else (f"step {start + bad} left parameters that are not finite")
    )
    raise FloatingPointError(
        f"fit needs finite losses, but {seen}; lower the learning rate, clip the gradient or look at that batch; "
        f"last good checkpoint: {last}"
    )


def _lend(model, state):
    """Show the averaged parameters in the model, in copies that the next stretch does not give away."""
    nnx.update(model, jax.tree.map(jnp.copy, state.average), jax.tree.map(jnp.copy, state.rest))
    model.eval()


def _bar(total, done, show):
    from tqdm.std import tqdm

    return tqdm(total=total, initial=done, disable=not show, unit="step", desc="training", mininterval=0.5)
