"""The process of one library: python -m benchmarks.worker LIBRARY FOLDER, see `turns.Worker`.

It imports the library once.  Each job runs in a fork, with its own memory and thread pools.  With
a third argument, `alone`, it runs one job itself, for its memory: that of a fork is partly shared.
"""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

TURN = 0.25  # measured seconds of a turn, at least one run
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def serve(library, folder, alone=None):
    """Import a library, and run a job for each line of standard input."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no reply
    reply = lambda **message: print(json.dumps(message), file=replies, flush=True)
    module = import_module(f"benchmarks.libraries.{library}")
    os.chdir(folder)
    while line := sys.stdin.readline():
        if alone or os.fork() == 0:
            try:
                work(module, json.loads(line), reply)
            except Exception as error:
                reply(error=f"{type(error).__name__}: {error}")
            os._exit(0)
        _, status = os.wait()
        if status:
            reply(error=f"the process of the job ended with status {status}")


def work(module, request, reply):
    """Start a job, run it for each request, and at the end reply with its memory."""
    before, files = memory("VmRSS"), memory("RssFile")
    run = getattr(module, request["job"])(**request["arguments"])
    reset_peak()
    result = run()  # it may compile
    _, seconds = timed(run)
    runs = max(1, round(TURN / seconds))
    reply(result=result)
    while json.loads(sys.stdin.readline())["run"]:
        run()  # after the turns of others, caches are cold
        _, seconds = timed(lambda: [run() for _ in range(runs)])
        reply(seconds=seconds / runs)
    reply(peak=memory("VmHWM") - before - (memory("RssFile") - files))


def timed(run):
    """Return the result of a function, and the seconds that it took."""
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def memory(field):
    """Return the memory of this process in bytes, 0 if unknown.

    VmRSS is now, VmHWM the peak.  RssFile are pages of mapped files, which the system may drop.
    """
    if not STATUS.exists():
        return 0
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def reset_peak():
    """Let the peak of memory begin now, so that what loading a model took is not in it."""
    if CLEAR_REFS.exists():
        CLEAR_REFS.write_text("5")


if __name__ == "__main__":
    serve(*sys.argv[1:])
