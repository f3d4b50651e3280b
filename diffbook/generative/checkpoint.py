"""Checkpoints that are whole or absent.

A checkpoint is a folder that orbax writes, and a manifest beside it with the size and SHA-256 of every file. The
manifest is written last and by renaming, so a process killed at any moment leaves either no manifest or a true one;
what has none, or differs from it by a bit, is passed over for the one before.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from diffbook._checks import require


def save(directory, step: int, tree, *, about: dict, keep: int = 2) -> None:
    """Write `tree`, a tree of arrays, as the checkpoint of `step`, then drop all but the newest `keep`.

    Args:
      directory: a folder, made if need be.  step: >= 0.  tree: arrays, sharded or not.
      about: JSON facts that a later run must share, e.g. the random key.
    Raises: OSError: if the disk is full or the folder cannot be written; earlier checkpoints stay as they are.
    """
    directory = Path(directory).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    folder, manifest = _folder(directory, step), _manifest(directory, step)
    if jax.process_index() == 0:
        manifest.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
    _together("save")
    with _writing(folder), _checkpointer() as checkpointer:
        checkpointer.save(folder, _raw(tree), force=True)
    _together("saved")
    if jax.process_index() == 0:
        facts = {"step": step, "about": about, "tree": _signature(tree), "files": _digests(folder)}
        with _writing(folder):
            _write(manifest, json.dumps(facts, indent=1))
        for old in _steps(directory)[:-keep]:
            _manifest(directory, old).unlink()
            shutil.rmtree(_folder(directory, old), ignore_errors=True)
    _together("listed")


@contextlib.contextmanager
def _writing(folder):
    """What cannot be written is an OSError that says what to do, and leaves no pieces that fill the disk further."""
    try:
        yield
    except (OSError, ValueError) as error:  # orbax hands the system's errors on as ValueError, with their number inside
        found = re.search(r"os_error_code='?(\d+)", str(error))
        code = getattr(error, "errno", None) or (int(found[1]) if found else None)
        if code is None:
            raise
        for piece in folder.parent.glob(f"{folder.name}*"):
            shutil.rmtree(piece, ignore_errors=True) if piece.is_dir() else piece.unlink(missing_ok=True)
        what = "the disk is full" if code == errno.ENOSPC else os.strerror(code)
        raise OSError(
            code, f"save needs room for {folder}, but {what}; free some, and run again: earlier checkpoints are whole"
        ) from error


def restore(directory, like, *, about: dict):
    """The newest whole checkpoint as (step, tree), or None if there is none.

    Args:
      directory: as in `save`.  like: a tree of arrays with the structure, shapes, dtypes and shardings wanted.
      about: must equal what was saved.
    Raises: ValueError: if the newest whole checkpoint is of another model, optimizer or key.
    """
    directory = Path(directory).absolute()
    for step in reversed(_steps(directory)):
        facts = _facts(directory, step)
        if facts is None or facts["files"] != _digests(_folder(directory, step)):
            logging.getLogger(__name__).warning("%s is damaged; trying an earlier one", _folder(directory, step))
            continue
        for what, here in (("tree", _signature(like)), ("about", about)):
            require(
                facts[what] == here,
                f"a run resumes only from its own checkpoint, got one with other {_difference(facts[what], here)} in "
                f"{directory}; give another folder, or the same model, optimizer and key",
            )
        with _checkpointer() as checkpointer:
            raw = checkpointer.restore(_folder(directory, step), jax.tree.map(_abstract, _raw(like)))
        leaves = [_cook(raw[str(i)], leaf) for i, leaf in enumerate(jax.tree.leaves(like))]
        return step, jax.tree.unflatten(jax.tree.structure(like), leaves)
    return None


def _checkpointer():
    import orbax.checkpoint as ocp  # two seconds of import that only training pays

    return ocp.StandardCheckpointer()


def _is_key(x):
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _raw(tree):
    """Random keys as plain numbers, which is what a file holds; leaves as a list, so that any tree will do."""
    return {str(i): jax.random.key_data(x) if _is_key(x) else x for i, x in enumerate(jax.tree.leaves(tree))}


def _cook(raw, like):
    """A restored leaf as one like it. Where that one was bound to no device, neither is this: a step may spread it."""
    if not like.committed:
        raw = jnp.asarray(np.asarray(raw))
    return jax.random.wrap_key_data(raw, impl=jax.random.key_impl(like)) if _is_key(like) else raw


def _abstract(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)


def _signature(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}" for path, x in leaves}


def _difference(a, b):
    """The first few entries in which two dictionaries differ."""
    differing = [key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
    return ", ".join(f"{key} ({a.get(key)} there, {b.get(key)} here)" for key in differing[:3])


def _folder(directory, step):
    return directory / f"step-{step:09d}"


def _manifest(directory, step):
    return directory / f"step-{step:09d}.json"


def _steps(directory):
    return sorted(int(path.stem.removeprefix("step-")) for path in directory.glob("step-*.json"))


def _facts(directory, step):
    try:
        return json.loads(_manifest(directory, step).read_text())
    except ValueError:  # not JSON: cut short by hand or by a failing disk
        return None


def _digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): [p.stat().st_size, hashlib.sha256(p.read_bytes()).hexdigest()] for p in files}


def _write(path, text):
    """A file that appears with its whole content or not at all, also after a power cut."""
    part = path.with_suffix(".part")
    with open(part, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _together(name):
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(f"diffbook-checkpoint-{name}")
