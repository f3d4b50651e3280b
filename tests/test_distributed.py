"""Two processes that know each other by loopback only train one model, stop, and go on."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("two_processes.py")


def free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def start(environ, port, rank, folder, num_steps):
    command = [sys.executable, str(SCRIPT), port, rank, folder / "checkpoints", folder / "out.npz", num_steps]
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    )


def losses(process):
    out, messages = process.communicate(timeout=300)
    assert process.returncode == 0, messages
    own = (line.split() for line in out.splitlines() if line[:1].isdigit())  # the collectives' library prints as well
    return {int(step): float(value) for step, value in own}


def together(environ, folder, num_steps):
    port = free_port()
    return [losses(p) for p in [start(environ, port, rank, folder, num_steps) for rank in (0, 1)]]


@pytest.mark.long
def test_two_processes_train_resume_and_agree_with_one(tmp_path, quick):
    (tmp_path / "one").mkdir(), (tmp_path / "two").mkdir()
    alone = losses(start(quick, 0, 0, tmp_path / "one", 40))
    first = together(quick, tmp_path / "two", 20)
    assert list(first[0]) == [5, 10, 15, 20] and first[0] == first[1]
    then = together(quick, tmp_path / "two", 40)
    assert list(then[0]) == [25, 30, 35, 40] and then[0] == then[1]  # on from the checkpoint, not from the start
    seen = first[0] | then[0]
    np.testing.assert_allclose([seen[step] for step in alone], list(alone.values()), rtol=1e-5)
    a, b = (np.load(tmp_path / name / "out.npz") for name in ("one", "two"))
    assert len(a.files) > 4
    for name in a.files:  # the batch's halves are summed in another order, over forty steps of Adam
        np.testing.assert_allclose(b[name], a[name], rtol=2e-3, atol=2e-4)
