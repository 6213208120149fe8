"""Watching a kind on a cluster: list once, then follow, through every break of the connection.

A thread of its own reads the stream, since the official client blocks; what it reads is handed to
the loop. A history that the server has forgotten (410) is bridged by listing again and telling the
difference. Not here: the simulated cluster's watches (``world.kube.watch``).
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from aiopslab.environments.cluster.connection import Connection, Request, of_status
from aiopslab.errors import InfraError
from aiopslab.models.kube import KubeError, Object

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

Event = tuple[str, Object]
Listing = Callable[[], tuple[list[Object], str]]
"""Returns all objects and the revision that they show."""

_STREAM_S = 290
"""Seconds after which the server ends a stream, and the next one begins where it ended."""
_AWAY = frozenset({429, 500, 502, 503, 504})
"""What a server, or what stands before it, answers while it comes and goes."""
_FAILURES = 5
"""Breaks in a row, without an event between them, after which the watch has failed."""


class ClusterWatch:
    """Iterates over (event, object) from the moment it is ready.

    Args:
        connection: The way to the server.
        path: Returns the URL of the collection, in the calling thread.
        listing: Lists the collection, in the calling thread.
        from_start: Also tell what is there at the beginning, as added.
        patient: Never give up on a server that is away.
    """

    def __init__(
        self,
        connection: Connection,
        path: Callable[[], str],
        listing: Listing,
        *,
        from_start: bool = False,
        patient: bool = False,
    ) -> None:
        self._from_start = from_start
        self._patient = patient
        self.trouble = ""
        """Why the server could not be asked last; empty while all is well."""
        self._connection = connection
        self._find_path = path
        self._path = ""
        self._listing = listing
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
        self._ready = asyncio.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._response: BaseHTTPResponse | None = None
        self._known: dict[tuple[str, str], Object] = {}
        self._thread = threading.Thread(target=self._follow, name="kubernetes watch", daemon=True)
        self._thread.start()
        self._forget = connection.on_close(self.aclose)

    async def ready(self) -> None:
        """Wait until the watch has begun: what changes from now on is told."""
        await self._ready.wait()

    @property
    def waiting(self) -> int:
        """How many events wait to be read; once it is ready, those of the beginning among them."""
        return self._queue.qsize()

    def __aiter__(self) -> ClusterWatch:
        return self

    async def __anext__(self) -> Event:
        item = await self._queue.get()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, Exception):
            self.close()
            raise item
        return item

    def close(self) -> None:
        """Stop; a second call does nothing."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            response = self._response
        self._forget()
        self._queue.put_nowait(None)
        if response is not None:
            # Wakes the thread out of its read; one that has ended its stream needs no waking.
            with suppress(ValueError, RuntimeError, OSError):
                response.shutdown()

    async def aclose(self) -> None:
        """Stop, and wait until the thread has ended."""
        self.close()
        await asyncio.to_thread(self._thread.join)

    # -- in the thread ----------------------------------------------------------------------------

    def _follow(self) -> None:
        try:
            self._follow_until_closed()
        except (KubeError, InfraError) as error:
            self._tell(error)
        finally:
            self._call(self._ready.set)

    def _follow_until_closed(self) -> None:
        revision, failures = "", 0
        while not self._closed.is_set():
            try:
                if not revision:
                    revision = self._begin()
                self.trouble = ""
                for event, obj in self._stream(revision):
                    revision, failures = obj["metadata"]["resourceVersion"], 0
                    if event != "BOOKMARK":
                        self._take(event, obj)
            except KubeError as error:
                if error.code == 410:
                    revision = ""
                elif self._patient and error.code in _AWAY:
                    failures = self._pause(failures, error)
                else:
                    raise
            except InfraError as error:
                if failures >= _FAILURES and not self._patient:
                    raise
                failures = self._pause(failures, error)

    def _pause(self, failures: int, error: Exception) -> int:
        """Wait after a failure, longer each time; returns how many there were."""
        self.trouble = str(error)
        failures = min(failures + 1, _FAILURES + 1)
        self._closed.wait(0.2 * 2**failures)
        return failures

    def _begin(self) -> str:
        """List; tell the difference to what was known, if there was something; return where."""
        self._path = self._find_path()
        objects, revision = self._listing()
        found = {_key(obj): obj for obj in objects}
        if self._from_start or self._ready.is_set():
            for key in self._known.keys() - found.keys():
                self._tell(("DELETED", self._known[key]))
            for key, obj in found.items():
                old = self._known.get(key)
                if old is None or _revision(old) != _revision(obj):
                    self._tell(("ADDED" if old is None else "MODIFIED", obj))
        self._known = found
        self._call(self._ready.set)
        return revision

    def _stream(self, revision: str) -> Iterator[Event]:
        """Iterate over the events of one stream.

        Raises:
            KubeError: The server ended it with a refusal.
            InfraError: The connection broke.
        """
        query = {"watch": "1", "resourceVersion": revision, "allowWatchBookmarks": "true",
                 "timeoutSeconds": str(_STREAM_S)}  # fmt: skip
        request = Request("GET", self._path, query)
        response = self._connection.stream(request, _STREAM_S + 30.0)
        try:
            with self._lock:
                # Closed while the answer was on its way: nobody could wake us out of a read.
                if self._closed.is_set():
                    return
                self._response = response
            for line in self._lines(response):
                event = self._read(line)
                if event["type"] == "ERROR":
                    raise of_status(event["object"])
                yield event["type"], event["object"]
        finally:
            self._response = None
            response.close()

    def _read(self, line: bytes) -> Object:
        try:
            event: Object = json.loads(line)
        except ValueError as error:
            words = f"watch {self._path}: no event: {line[:200]!r}"
            raise InfraError("kubernetes", words) from error
        return event

    def _lines(self, response: BaseHTTPResponse) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - the client is an extra

        rest = b""
        try:
            for chunk in response.stream(1 << 16):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from filter(None, lines)
                if self._closed.is_set():
                    return
        except (HTTPError, OSError, ValueError) as error:
            if not self._closed.is_set():
                raise InfraError("kubernetes", f"watch {self._path}: {error}") from error

    def _take(self, event: str, obj: Object) -> None:
        if event == "DELETED":
            self._known.pop(_key(obj), None)
        else:
            self._known[_key(obj)] = obj
        self._tell((event, obj))

    def _tell(self, item: Event | Exception) -> None:
        if not self._closed.is_set():
            self._call(self._queue.put_nowait, item)

    def _call(self, function: Callable[..., None], *args: Event | Exception) -> None:
        # The loop may have ended first: then nobody is left to be told.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def _revision(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion") or "")
