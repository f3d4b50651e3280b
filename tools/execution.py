"""Execute chapters, two at a time, each in a process of its own, and say what happens while they run."""

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, wait

from chapters import ROOT, executed, notebook

WORKERS = 2
HEARTBEAT = 15  # seconds between signs of life of the chapters that run


def say(text):
    print(text, flush=True)


def execute(todo):
    """Execute chapters and store each as soon as it is done; return a message for each one that failed."""
    running, processes, width = {}, [], max(map(len, todo))
    start = time.monotonic()

    def one(chapter):
        command = [sys.executable, ROOT / "tools" / "run_chapter.py", notebook(chapter), executed(chapter)]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
            processes.append(process)
            say(f"  {chapter:{width}}  started")
            event = {}
            for line in process.stdout:
                event = json.loads(line)
                if "cell" in event:
                    running[chapter] = f"cell {event['cell']} of {event['of']}"
            process.wait()
            where = running.pop(chapter, "before its first cell")
            if "done" in event:
                seconds, peak = event["done"]["seconds"], event["done"]["peak_bytes"] / 2**20
                say(f"  {chapter:{width}}  done in {seconds:.1f} s, peak memory {peak:.0f} MiB")
                return None
            say(f"  {chapter:{width}}  FAILED")
            errors.seek(0)
            return _failure(chapter, where, event if "failed" in event else {"traceback": errors.read()})

    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            jobs = [pool.submit(one, chapter) for chapter in todo]
            while (state := wait(jobs, timeout=HEARTBEAT)).not_done:
                for chapter, cell in sorted(running.items()):
                    say(f"  {chapter:{width}}  {cell}, {time.monotonic() - start:.0f} s since the start")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.stdin.close()  # which ends it, and its kernel
            raise
    return [job.result() for job in jobs if job in state.done and job.result()]


def _failure(chapter, where, event):
    parts = [f"{chapter}.md, {where}: {event.get('failed', 'could not be executed')}"]
    for part in ("source", "traceback"):
        if event.get(part):
            parts.append("\n".join("    " + line for line in event[part].strip().splitlines()))
    return "\n\n".join(parts)
