"""Signals that ask to stop, answered where stopping loses nothing."""

import signal
import threading
from contextlib import contextmanager

SIGNALS = signal.SIGINT, signal.SIGTERM


class Interrupted(KeyboardInterrupt):
    """A training was asked to stop, and is saved in `folder`.

    code: what a process exits with then, 130 or 143.
    """

    def __init__(self, number, folder):
        name = signal.Signals(number).name
        super().__init__(f"stopped by {name}; trainer.resume({str(folder)!r}) goes on with it")
        self.code, self.folder = 128 + number, folder


@contextmanager
def interruptible(folder):
    """Yield a list, to which the first SIGINT or SIGTERM is added; at the end it is Interrupted.

    A second one does what it always did: Ctrl-C twice stops at once.  What is ignored stays
    ignored (nohup, jobs of a script), and outside the main thread Python has no signals.
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
