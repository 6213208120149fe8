"""CPU work that burns CPU: key derivation until the thread has used the seconds asked for.

The work is a C function that lets go of the interpreter's lock, in a thread of its own, so that
several requests use several cores and the event loop goes on. What is shorter than handing it to
a thread pays for is done on the spot. Not here: who shares the cores (the kernel and the cgroup).
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

_INLINE_S = 0.000_3
"""Shorter work is done on the event loop: waking a thread costs about as much."""
_SLICE_S = 0.02
"""Longest stretch of work between two looks at whether it is still wanted."""
_THREADS = 64
"""Work at once; the kernel shares the cores between them. More waits, first come first served."""
_TEXT = b"aiopslab"
_FIRST_GUESS = 1_000_000.0


class ProcessCpu:
    """``protocols.CpuTime``."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="cpu")
        self._rounds_per_s = _FIRST_GUESS
        """Rounds of the work in a CPU second, as last measured."""

    async def burn(self, seconds: float) -> None:
        if seconds <= _INLINE_S:
            self._work(seconds, None)
            return
        unwanted = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._threads, self._work, seconds, unwanted)
        except asyncio.CancelledError:
            unwanted.set()
            raise

    def close(self) -> None:
        """Take no further work."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _work(self, seconds: float, unwanted: threading.Event | None) -> None:
        """Use so many CPU seconds of this thread."""
        start, left = time.thread_time(), seconds
        while left > 0.0 and not (unwanted is not None and unwanted.is_set()):
            rounds = max(1, int(min(left, _SLICE_S) * self._rounds_per_s))
            before = time.thread_time()
            hashlib.pbkdf2_hmac("sha256", _TEXT, _TEXT, rounds)
            now = time.thread_time()
            if rounds > 100 and now > before:
                self._rounds_per_s = rounds / (now - before)
            left = seconds - (now - start)
