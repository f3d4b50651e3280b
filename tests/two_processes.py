"""One of two processes that train together: `python two_processes.py PORT RANK FOLDER OUT NUM_STEPS`, or alone without
a port (0)."""

import sys

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from diffbook.generative import denoising_loss, straight
from diffbook.generative.networks import MLP
from diffbook.generative.training import fit, minibatches


def main(arguments):
    port, rank, folder, out, num_steps = arguments
    if port != "0":
        jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=int(rank))
        assert jax.process_count() == 2 and jax.device_count() == 2 * jax.local_device_count()

    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    data = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    model = MLP((2, 64, 64, 2), rngs=nnx.Rngs(0))
    batches = minibatches((data,), 128, key=jax.random.key(2), sharding=NamedSharding(mesh, PartitionSpec("data")))
    for step, value in fit(
        model, batches, lambda model, batch, key: denoising_loss(model, batch[0], straight(), key=key, predict="v"),
        num_steps=int(num_steps), key=jax.random.key(1), optimizer=optax.adam(1e-2), every=5, checkpoint=folder,
        save_every=20,
    ):  # fmt: skip
        print(step, value, flush=True)
    if rank == "0":
        np.savez(out, *[np.asarray(p) for p in jax.tree.leaves(nnx.state(model, nnx.Param))])


if __name__ == "__main__":
    main(sys.argv[1:])
