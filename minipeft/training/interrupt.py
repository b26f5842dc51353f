"""SIGINT and SIGTERM during training: finish the step, save, and raise Interrupted."""

import signal
import threading
from contextlib import contextmanager

SIGNALS = signal.SIGINT, signal.SIGTERM


class Interrupted(KeyboardInterrupt):
    """Raised when a signal has stopped a training, which is saved in `folder`.

    code: the exit code of the process, 130 for SIGINT or 143 for SIGTERM.
    """

    def __init__(self, number, folder):
        name = signal.Signals(number).name
        super().__init__(f"stopped by {name}; trainer.resume({str(folder)!r}) continues it")
        self.code, self.folder = 128 + number, folder


@contextmanager
def interruptible(folder):
    """Yield a list that gets the first SIGINT or SIGTERM; at the end, then raise Interrupted.

    folder: where the training is saved.  The second signal has its usual effect: pressing Ctrl-C
    twice stops at once.  Signals that are ignored (under nohup) stay ignored.  Outside the main
    thread this does nothing.
    """
    got, before = [], {}

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    def first(number, frame):
        got.append(number)
        restore()

    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None):
                before[number] = handler
                signal.signal(number, first)
    try:
        yield got
    finally:
        restore()
    if got:
        raise Interrupted(got[0], folder)
