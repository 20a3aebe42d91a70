"""Stopping on Ctrl-C and SIGTERM without losing anything."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Generator
from types import FrameType

__all__ = ["StopRequest", "stop_on_signals"]


class StopRequest:
    """Whether somebody asked the run to stop: `signal` is the number of the signal, None so far."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Take a signal: the first asks to stop, a second leaves at once with the shell's exit code for it."""
        if self.signal is not None:
            if os.isatty(2):
                os.write(2, b"\x1b[?25h\n")  # A progress bar may have hidden the cursor.
            os._exit(128 + number)
        self.signal = number


@contextlib.contextmanager
def stop_on_signals() -> Generator[StopRequest]:
    """Catch SIGINT and SIGTERM in the block, and put the former handlers back after it.

    Outside the main thread Python can set no handlers: there the request never comes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            # None: a handler that was not set from Python, and cannot be set back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
