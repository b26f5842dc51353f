"""The process of one library: python -m benchmarks.worker LIBRARY FOLDER, see `turns.Worker`.

It imports the library once.  Each job runs in a fork, with its own memory and thread pools.
"""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

TURN = 0.2  # seconds of a turn, at least one run
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def serve(library, folder, requests, replies):
    """Run a job for each request, one after the other, in a folder."""
    module = import_module(f"benchmarks.libraries.{library}")
    os.chdir(folder)

    def reply(**message):
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    while line := requests.readline():
        if os.fork() == 0:
            try:
                work(module, json.loads(line), requests, reply)
            except Exception as error:
                reply(error=f"{type(error).__name__}: {error}")
            os._exit(0)
        _, status = os.wait()
        if status:
            reply(error=f"the process of the job ended with status {status}")


def work(module, request, requests, reply):
    """Start a job, run it for each request, and at the end reply with its memory."""
    before = memory("VmRSS")
    run = getattr(module, request["job"])(**request["arguments"])
    reset_peak()
    result = run()
    start = time.perf_counter()
    run()
    runs = max(1, round(TURN / (time.perf_counter() - start)))
    reply(result=result)
    while json.loads(requests.readline())["run"]:
        start = time.perf_counter()
        for _ in range(runs):
            run()
        reply(seconds=(time.perf_counter() - start) / runs)
    reply(peak=memory("VmHWM") - before)


def memory(field):
    """Return the memory of this process in bytes, 0 if unknown: VmRSS is now, VmHWM the peak."""
    if not STATUS.exists():
        return 0
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def reset_peak():
    """Let the peak of memory begin now, so that what loading a model took is not in it."""
    if CLEAR_REFS.exists():
        CLEAR_REFS.write_text("5")


if __name__ == "__main__":
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no reply
    serve(*sys.argv[1:], sys.stdin, replies)
