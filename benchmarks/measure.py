"""Time contenders side by side: each in a process of its own, in turn, so that what else the machine does falls on all.

A contender is a function that sets its problem up and returns a `Task`. Its process sleeps while another one is timed.
"""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass
class Task:
    """What a contender runs.

    `scale` times the run is the whole problem: 20 for a run of 20 of 400 steps. `calls` in a row make one timing.
    `answer` turns what `run` returns into what is compared, and goes to the parent once.
    """

    run: Callable[[], Any]
    scale: float = 1.0
    calls: int = 1
    answer: Callable[[Any], Any] = lambda result: result


def _serve(pipe, module, name):
    try:
        start = time.perf_counter()
        task = getattr(import_module(module), name)()
        result = task.run()
        first = time.perf_counter() - start
        pipe.send({"first": first, "scale": task.scale, "answer": task.answer(result)})
        del result
        while pipe.recv():
            start, busy = time.perf_counter(), time.process_time()
            for _ in range(task.calls):
                task.run()
            each = task.scale / task.calls
            pipe.send(((time.perf_counter() - start) * each, (time.process_time() - busy) * each))
    except EOFError:  # the parent has no more questions
        pass


class Contender:
    """One contender, started and warmed up: `first` is what that took, imports and compilation included."""

    def __init__(self, path):
        self.name = path
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far, *path.split(":")), daemon=True)
        self.process.start()
        far.close()
        facts = self._receive()
        self.first, self.scale, self.answer = facts["first"], facts["scale"], facts["answer"]
        self.walls, self.busy = [], []

    def _receive(self):
        try:
            return self.pipe.recv()
        except EOFError:
            raise RuntimeError(f"{self.name} ended with an error, which stands above") from None

    def time(self):
        """Seconds for the whole problem, now."""
        self.pipe.send(True)
        wall, busy = self._receive()
        self.walls.append(wall)
        self.busy.append(busy)
        return wall

    def close(self):
        self.pipe.close()
        self.process.join()


def race(ours, others, *, budget=8.0, rounds=11):
    """Ratios of each other contender's time to ours, several of each.

    We are timed before and after each of theirs, and the ratio is to the mean of the two. A contender stops when it has
    used up `budget` seconds, but not before it was timed three times.
    """
    ratios, spent = {other.name: [] for other in others}, dict.fromkeys(others, 0.0)
    for number in range(rounds):
        for other in others:
            if number >= 3 and spent[other] > budget:
                continue
            start = time.perf_counter()
            before, theirs, after = ours.time(), other.time(), ours.time()
            ratios[other.name].append(2 * theirs / (before + after))
            spent[other] += time.perf_counter() - start
    return ratios


def middle(values):
    """The median of several numbers, the smallest and the largest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "count": len(values)}


def peak_megabytes():
    """Peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
