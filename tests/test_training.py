"""Training: the numbers do not depend on how many devices train, nor on who looks on."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import export
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from toy_training import ADAM, DATA, leaves, loss, network, train

from diffbook.generative.training import fit, initial_state, minibatches, train_step


def test_it_learns_and_yields_step_and_mean_loss():
    model, seen = network(), []
    record = train(model, 300, every=50, callbacks=[lambda step, loss, model: seen.append((step, loss))])
    assert [step for step, _ in record] == [50, 100, 150, 200, 250, 300] and seen == record
    # data N(0, I) leave a velocity error of 1/((1 - t)**2 + t**2) at time t, pi/2 on average; knowing nothing costs 2
    assert 1.5 < record[-1][1] < 1.7 < record[0][1]


def test_the_model_holds_the_average_and_can_be_used_at_every_yield():
    """The average by hand, from the same steps taken one at a time."""
    model = network()
    graph, state = initial_state(model, ADAM)
    batches, average = minibatches((DATA,), 64, key=jax.random.key(2)), None
    outputs = []
    for _ in fit(
        model, batches, loss, num_steps=6, every=2, key=jax.random.key(1), optimizer=ADAM, ema=0.9,
        progress=False,
    ):  # fmt: skip
        outputs.append(model(jnp.ones((1, 2)), 0.5))
    average = state.average
    step = jax.jit(
        lambda state, batch: train_step(
            state, batch, jax.random.key(1), graph=graph, loss=loss, optimizer=ADAM, ema=0.9
        )
    )
    for k in range(6):
        state, _ = step(state, batches(k))
        d = min(0.9, (1 + k) / (10 + k))
        average = jax.tree.map(lambda a, p: d * a + (1 - d) * p, average, state.params)  # noqa: B023
    for a, b in zip(leaves(model), jax.tree.leaves(average), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(outputs[-1], model(jnp.ones((1, 2)), 0.5))  # earlier models were not given away
    assert all(bool(jnp.isfinite(o).all()) for o in outputs)


def test_without_average_the_model_holds_the_parameters():
    model = nnx.Linear(1, 1, rngs=nnx.Rngs(0))
    train(model, 1, every=1, ema=0.0, optimizer=optax.sgd(0.5), loss=lambda m, batch, key: 3 * m.kernel[0, 0])
    start = nnx.Linear(1, 1, rngs=nnx.Rngs(0))
    assert float(model.kernel[0, 0]) == pytest.approx(float(start.kernel[0, 0]) - 1.5, rel=1e-6)


def test_batches_are_a_pure_function_of_the_step():
    a, b = (minibatches((np.arange(50), np.arange(50) * 2), 8, key=jax.random.key(0)) for _ in range(2))
    for step in (0, 3, 10**6):
        x, y = a(step)
        assert jnp.array_equal(x, b(step)[0]) and jnp.array_equal(y, 2 * x)
        assert jnp.array_equal(jax.jit(a)(step)[0], x)
    assert not jnp.array_equal(a(0)[0], a(1)[0])
    counts = np.bincount(np.concatenate([a(k)[0] for k in range(250)]), minlength=50)
    assert np.all(np.abs(counts - 40) < 4 * np.sqrt(40) * 1.2)  # binomial(2000, 1/50), fifty of them


def test_stateful_layers_and_plain_functions_as_batches():
    """Dropout keeps its counter in the state, which is trained around, saved and restored."""

    class Noisy(nnx.Module):
        def __init__(self, rngs):
            self.linear, self.dropout = nnx.Linear(2, 2, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x, t):
            return self.dropout(self.linear(x))

    model = Noisy(nnx.Rngs(0))
    record = train(model, 20, batches=lambda step: (jnp.full((4, 2), 1.0 + step),))
    assert all(np.isfinite(value) for _, value in record)
    x = jnp.ones((1, 2))
    assert jnp.array_equal(model(x, 0.5), model(x, 0.5))  # evaluation mode: no dropout


def test_a_step_sharded_over_eight_devices_gives_the_single_device_numbers():
    assert jax.device_count() == 8
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    alone, together = network(), network()
    first = train(alone, 20)
    second = train(together, 20, batches=minibatches((DATA,), 64, key=jax.random.key(2), sharding=spread))
    np.testing.assert_allclose([v for _, v in second], [v for _, v in first], rtol=1e-5)
    for a, b in zip(leaves(alone), leaves(together), strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-5)  # sums in another order, over twenty Adam steps

    graph, state = initial_state(network(), optax.sgd(0.1))
    step = jax.jit(
        lambda state, batch: train_step(
            state, batch, jax.random.key(1), graph=graph, loss=loss, optimizer=optax.sgd(0.1), ema=0.9
        )
    )
    batch = jax.device_put((DATA[:64],), spread)
    a, _ = step(state, (jnp.asarray(DATA[:64]),))
    b, _ = step(state, batch)
    assert len(batch[0].sharding.device_set) == 8
    for x, y in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_training_step_exports(platform):
    graph, state = initial_state(network(), ADAM)

    def step(state, batch, key):
        new, value = train_step(state, batch, key, graph=graph, loss=loss, optimizer=ADAM, ema=0.99)
        return jax.tree.leaves(new), value

    flat, tree = jax.tree.flatten(state)

    def flat_step(flat, batch, key):
        return step(jax.tree.unflatten(tree, flat), batch, key)

    args = (flat, (jnp.asarray(DATA[:8]),), jax.random.key(0))
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), args)
    assert export.export(jax.jit(flat_step), platforms=[platform])(*shapes).platforms == (platform,)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_steps": 0}, "num_steps >= 1"),
        ({"every": 0}, "every >= 1"),
        ({"save_every": 0}, "save_every >= 1"),
        ({"ema": 1.0}, "0 <= ema < 1"),
        ({"key": 3}, "typed random key"),
    ],
)
def test_bad_input(change, message):
    given = {"num_steps": 3, "key": jax.random.key(0), "optimizer": optax.sgd(0.1)} | change
    with pytest.raises(ValueError, match=message):
        fit(network(), lambda step: (DATA,), loss, **given)


def test_bad_batches():
    with pytest.raises(ValueError, match=r"one length above 0, got lengths \[3, 4\]"):
        minibatches((np.zeros(3), np.zeros(4)), 2, key=jax.random.key(0))
    with pytest.raises(ValueError, match="batch_size >= 1"):
        minibatches((np.zeros(3),), 0, key=jax.random.key(0))
