"""Checkpoints: a run goes on from the last whole one, with the same bits, however it was stopped."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from toy_training import ADAM, DATA, loss, network, same_bits, train

from diffbook.generative import checkpoint as checkpoints
from diffbook.generative.networks import MLP
from diffbook.generative.training import fit, minibatches


def test_interrupted_and_resumed_is_bit_identical(tmp_path):
    whole, cut = network(), network()
    record = train(whole, 40)
    some = []
    for step, value in fit(
        cut, minibatches((DATA,), 64, key=jax.random.key(2)), loss, num_steps=40, key=jax.random.key(1), every=10,
        optimizer=ADAM, checkpoint=tmp_path, save_every=15, progress=False,
    ):  # fmt: skip
        some.append((step, value))
        if step == 30:
            break
    fresh = network(seed=5)  # its start is overwritten
    rest = train(fresh, 40, checkpoint=tmp_path)
    assert rest[-1][0] == 40 and rest[-1][1] == record[-1][1]
    assert same_bits(fresh, whole)
    assert train(network(), 40, checkpoint=tmp_path) == []  # nothing left to do ...
    done = network(seed=6)
    train(done, 40, checkpoint=tmp_path)
    assert same_bits(done, whole)  # ... and the model is the trained one


SCRIPT = textwrap.dedent(
    """
    import os, signal, sys
    import jax, numpy as np, optax
    from flax import nnx
    from diffbook.generative import checkpoint, denoising_loss, straight
    from diffbook.generative.networks import MLP
    from diffbook.generative.training import fit, minibatches

    ADAM = optax.adam(1e-2)
    folder, out, die = sys.argv[1], sys.argv[2], sys.argv[3]
    data = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    model = MLP((2, 64, 64, 2), rngs=nnx.Rngs(0))

    if die == "saving":  # the files of step 60 are written, their manifest is not
        write = checkpoint._write
        checkpoint._write = lambda path, text: (
            os.kill(os.getpid(), signal.SIGKILL) if "60" in path.name else write(path, text)
        )
    for step, value in fit(
        model, minibatches((data,), 128, key=jax.random.key(2)),
        lambda model, batch, key: denoising_loss(model, batch[0], straight(), key=key, predict="v"),
        num_steps=120, key=jax.random.key(1), optimizer=ADAM, every=5, checkpoint=folder, save_every=20,
    ):
        print(step, flush=True)
    np.savez(out, *jax.tree.leaves(nnx.state(model, nnx.Param)))
    """
)


def child(environ, folder, *arguments):
    command = [sys.executable, "-c", SCRIPT, str(folder), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


@pytest.mark.long
def test_killed_in_the_middle_the_run_ends_with_the_same_bits(tmp_path, quick):
    """SIGKILL from outside while it trains, then SIGKILL within a save, then on to the end."""
    unbroken = child(quick, tmp_path / "a", tmp_path / "a.npz", "never")  # first: the others take what it compiled
    _, messages = unbroken.communicate()
    assert unbroken.returncode == 0, messages
    assert "120/120" in messages  # the progress bar, on standard error
    broken = child(quick, tmp_path / "b", tmp_path / "b.npz", "never")
    for line in broken.stdout:
        if int(line) >= 50:
            broken.send_signal(signal.SIGKILL)
            break
    assert broken.wait() == -signal.SIGKILL
    broken.stdout.close(), broken.stderr.close()
    again = child(quick, tmp_path / "b", tmp_path / "b.npz", "saving")
    steps, _ = again.communicate()
    assert again.returncode == -signal.SIGKILL
    assert 40 <= int(steps.split()[0]) <= 60 and not (tmp_path / "b.npz").exists()
    assert (tmp_path / "b" / "step-000000060").exists()  # the half-made checkpoint, to be passed over
    last = child(quick, tmp_path / "b", tmp_path / "b.npz", "never")
    steps, messages = last.communicate()
    assert last.returncode == 0, messages
    assert steps.split()[0] == "45" and steps.split()[-1] == "120"
    a, b = np.load(tmp_path / "a.npz"), np.load(tmp_path / "b.npz")
    assert a.files == b.files and len(a.files) > 4
    for name in a.files:
        assert a[name].tobytes() == b[name].tobytes()


def damage_truncate(folder):
    largest = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


def damage_bit(folder):
    largest = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


def damage_manifest(folder):
    manifest = folder.with_name(folder.name + ".json")
    os.truncate(manifest, 40)


def damage_remove(folder):
    next(p for p in folder.rglob("*") if p.is_file()).unlink()


@pytest.mark.parametrize("damage", [damage_truncate, damage_bit, damage_manifest, damage_remove])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage, caplog):
    whole = network()
    train(whole, 40, checkpoint=tmp_path)
    damage(tmp_path / "step-000000040")
    again = network(seed=3)
    record = train(again, 40, checkpoint=tmp_path)
    assert record[0][0] == 40 and "damaged" in caplog.text  # from 30, the save before
    assert same_bits(again, whole)


def test_all_checkpoints_damaged_starts_anew(tmp_path):
    whole = network()
    train(whole, 30, checkpoint=tmp_path)
    for folder in tmp_path.glob("step-*0"):
        damage_truncate(folder)
    for folder in tmp_path.glob("step-*5"):
        damage_truncate(folder)
    again = network()
    assert [step for step, _ in train(again, 30, checkpoint=tmp_path)] == [10, 15, 20, 30]
    assert same_bits(again, whole)


def test_two_checkpoints_are_kept(tmp_path):
    train(network(), 60, checkpoint=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "step-000000045",
        "step-000000045.json",
        "step-000000060",
        "step-000000060.json",
    ]
    facts = json.loads((tmp_path / "step-000000060.json").read_text())
    assert facts["step"] == 60 and facts["files"]


def test_nan_stops_with_a_clear_error_and_the_last_checkpoint_stays(tmp_path):
    def sour(step):
        return (jnp.where(step < 33, 1.0, jnp.nan) * DATA[:64],)

    def plain(step):
        return (DATA[:64],)

    with pytest.raises(FloatingPointError, match=r"the loss of step 34 is nan.*lower the learning rate.*step 30 in"):
        train(network(), 60, batches=sour, checkpoint=tmp_path)
    mended, whole = network(), network()
    train(mended, 60, batches=plain, checkpoint=tmp_path)
    train(whole, 60, batches=plain)
    assert same_bits(mended, whole)


def test_parameters_broken_by_the_last_update_are_not_saved(tmp_path):
    """The loss is still finite in the step whose gradient is not."""

    def root(model, batch, key):
        return jnp.sqrt(jnp.abs(model.kernel[0, 0] * jnp.where(batch[0][0, 0] < 15, 1.0, 0.0)))

    model = nnx.Linear(1, 1, rngs=nnx.Rngs(0))
    with pytest.raises(FloatingPointError, match="step 16 left parameters that are not finite.*checkpoint: none"):
        train(
            model, 16, every=16, loss=root, checkpoint=tmp_path, save_every=100, optimizer=optax.sgd(1e-6),
            batches=lambda step: (jnp.full((1, 1), step),),
        )  # fmt: skip
    assert not any(tmp_path.iterdir())


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, monkeypatch):
    whole = network()
    train(whole, 40)
    write = checkpoints._write

    def full(path, text):
        if "40" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, text)

    monkeypatch.setattr(checkpoints, "_write", full)
    with pytest.raises(OSError, match="the disk is full; free some.*earlier checkpoints are whole"):
        train(network(), 40, checkpoint=tmp_path)
    monkeypatch.undo()
    again = network()
    train(again, 40, checkpoint=tmp_path)
    assert same_bits(again, whole)


def test_arrays_that_cannot_be_written_leave_no_pieces(tmp_path, request):
    resource = pytest.importorskip("resource", reason="needs a system that limits the size of files, such as Linux")
    small, large = ({"a": jax.random.normal(jax.random.key(0), (n,))} for n in (10, 100_000))
    checkpoints.save(tmp_path, 1, small, about={})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    request.addfinalizer(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # the system itself refuses, as on a full disk
    with pytest.raises(OSError, match="File too large.*earlier checkpoints are whole"):
        checkpoints.save(tmp_path, 2, large, about={})
    assert {path.name for path in tmp_path.iterdir()} == {"step-000000001", "step-000000001.json"}
    assert jnp.array_equal(checkpoints.restore(tmp_path, small, about={})[1]["a"], small["a"])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"key": jax.random.key(9)}, "its own checkpoint.*key"),
        ({"ema": 0.5}, "its own checkpoint.*ema"),
        ({"optimizer": optax.sgd(1e-2)}, "its own checkpoint"),
    ],
)
def test_a_foreign_checkpoint_is_refused(tmp_path, change, message):
    train(network(), 15, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=message):
        train(network(), 15, checkpoint=tmp_path, **change)


def test_another_networks_checkpoint_is_refused(tmp_path):
    train(network(), 15, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"other .*kernel.*float32\[64, 16\] there, float32\[64, 8\] here"):
        train(MLP((2, 8, 16, 2), rngs=nnx.Rngs(0)), 15, checkpoint=tmp_path)


def test_a_run_may_not_end_before_its_checkpoint(tmp_path):
    train(network(), 15, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="num_steps >= the 15 of the checkpoint, got num_steps=10"):
        train(network(), 10, checkpoint=tmp_path)
