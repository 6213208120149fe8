"""Lines of containers that do not send their own: read from the kubelet, through the API server.

Each run of a container is followed by a thread, since the official client blocks; after a break it
goes on where it was. Of a container that sends its lines itself only what it could not send any
more is fetched, once it has ended. Not here: lines that come over OTLP (``intake``).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aiopslab.environments.cluster.connection import Connection, Request
from aiopslab.errors import InfraError
from aiopslab.models.kube import KubeError, Object
from aiopslab.models.timestamps import rfc3339, unix
from aiopslab.observer.intake import Intake
from aiopslab.observer.lacks import Lacks
from aiopslab.observer.pods import Pods, containers, statuses
from aiopslab.observer.recording import Recording
from aiopslab.telemetry.severity import severity_of
from aiopslab.world.kube.kubelet.box import component_of
from aiopslab.world.kube.objects import dig, name_of

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

MOST = 200
"""Containers that are followed at a time."""
LAST_WORDS = 30
"""Lines of a container that has ended that are looked at."""
SETTLE_S = 3.0
"""Seconds after its end in which lines may still come from itself."""
_LONGEST = 16_384
"""Characters of a line that are kept; the kubelet cuts longer ones too."""
_LONGEST_BYTES = 4 * _LONGEST + 64
"""Bytes that hold so many characters and the kubelet's stamp."""
_STREAM_S = 300.0
"""Seconds without a line after which a stream is begun anew."""
_AGAIN_S = 2.0
_END_S = 2.0
"""Seconds that all threads have to end."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one container."""

    pod: str
    namespace: str
    component: str
    container: str
    id: str
    """The runtime's, of this run."""

    @property
    def path(self) -> str:
        """URL of its log."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.pod}/log"


class Streams(Protocol):
    """What is asked for logs; ``Connection`` is one."""

    def stream(self, request: Request, timeout_s: float) -> BaseHTTPResponse:
        """Send a request whose answer is read as it comes."""
        ...


class Listener(Protocol):
    """Who is told; only ``runs`` is called from another thread."""

    def runs(self, run: Run) -> bool:
        """Whether a run goes on, as far as is known."""
        ...

    def took(self, run: Run, time: float, line: str) -> None:
        """Take a line."""
        ...

    def done(self, run: Run, why: str) -> None:
        """Hear that a run is followed no longer; empty if it has ended."""
        ...


class Tailing:
    """Follows the containers of one app.

    Args:
        connection: The way to the API server.
        pods: The app's.
        intake: Knows which lines a pod has sent itself.
        recording: Returns the present one.
        lacks: Is told what cannot be read.
    """

    def __init__(
        self,
        connection: Connection,
        pods: Pods,
        intake: Intake,
        recording: Callable[[], Recording],
        lacks: Lacks,
    ) -> None:
        self._connection = connection
        self._pods = pods
        self._intake = intake
        self._recording = recording
        self._lacks = lacks
        self._known: dict[str, set[str]] = {}
        """Runs that are, or were, followed, by pod; an ended one as ``ended ID``."""
        self._following: dict[str, Follower] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def heard(self, event: str, obj: Object, old: Object | None) -> None:
        """Begin to follow what a watch told of."""
        if obj.get("kind") != "Pod":
            return
        if event == "DELETED":
            self._known.pop(name_of(obj), None)
            self._intake.forget(name_of(obj))
            return
        specs = {str(spec["name"]): spec for spec in containers(obj)}
        for status in statuses(obj):
            spec = specs.get(str(status.get("name")))
            if spec is None:
                continue
            if self._pods.sends(spec):
                self._ended(obj, status)
            elif status.get("containerID") and _has_begun(status):
                self._follow(_run(obj, status))

    async def aclose(self) -> None:
        """End all threads; one whose server has not begun to answer ends with its connection."""
        followers = list(self._following.values())
        for follower in followers:
            follower.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.to_thread(_join, [follower.thread for follower in followers])

    # -- of those that do not send ----------------------------------------------------------------

    def _follow(self, run: Run) -> None:
        if not self._is_new(run.pod, run.id):
            return
        if len(self._following) >= MOST:
            self._lacks.lack("log streams", f"more than {MOST} containers")
            return
        since = self._recording().began
        self._following[run.id] = Follower(self._connection, run, since, self)

    def runs(self, run: Run) -> bool:
        """Whether a run goes on, as far as is known; called from threads."""
        pod = self._pods.find(run.pod)
        return pod is not None and any(
            s.get("containerID") == run.id and "running" in (s.get("state") or {})
            for s in statuses(pod)
        )

    def took(self, run: Run, time: float, line: str) -> None:
        """Record a line."""
        recording = self._recording()
        if recording.is_full:
            self._lacks.counts["refused lines"] += 1
        elif time >= recording.began:
            _record(recording, run, time, line)

    def done(self, run: Run, why: str) -> None:
        """Note that a run is followed no longer."""
        self._following.pop(run.id, None)
        if why:
            self._lacks.lack(f"log {run.component}", why)
        else:
            self._lacks.have(f"log {run.component}")

    def _is_new(self, pod: str, id: str) -> bool:
        known = self._known.setdefault(pod, set())
        if id in known:
            return False
        known.add(id)
        return True

    # -- of those that do -------------------------------------------------------------------------

    def _ended(self, pod: Object, status: Object) -> None:
        """Fetch what a run that has ended could not send."""
        for state, previous in (("state", False), ("lastState", True)):
            ended = dig(status, state, "terminated")
            if not ended or not ended.get("containerID"):
                continue
            id = str(ended["containerID"])
            at = str(ended.get("finishedAt") or "")
            if self._is_new(name_of(pod), f"ended {id}") and self._is_recent(at):
                run = _run(pod, {**status, "containerID": id})
                task = asyncio.get_running_loop().create_task(self._fetch(run, previous))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _is_recent(self, finished_at: str) -> bool:
        try:
            return unix(finished_at) >= self._recording().began
        except ValueError:
            return True

    async def _fetch(self, run: Run, previous: bool) -> None:
        await asyncio.sleep(SETTLE_S)
        query = {"container": run.container, "timestamps": "true", "tailLines": str(LAST_WORDS)}
        query |= {"previous": "true"} if previous else {}
        request = Request("GET", run.path, query, accept="*/*")
        try:
            text = await self._connection.run(self._connection.text, request)
        except (KubeError, InfraError) as error:
            # The pod is gone, or its next run has ended as well: nobody can tell any more.
            self._lacks.counts["last words"] += 1
            if not (isinstance(error, KubeError) and error.code == 404):
                self._lacks.say(f"last words of {run.pod}: {error}")
            return
        stamped = [found for line in text.split("\n") if (found := stamped_line(line))]
        for time, line in unsent(stamped, self._intake.said(run.pod)):
            self.took(run, time, line)


def unsent(
    stamped: Sequence[tuple[float, str]], sent: Sequence[str]
) -> Sequence[tuple[float, str]]:
    """Return the lines of a log after the last one that was sent."""
    known = set(sent)
    last = max((i for i, (_, line) in enumerate(stamped) if line in known), default=-1)
    return stamped[last + 1 :]


def stamped_line(text: str) -> tuple[float, str] | None:
    """Take the kubelet's time off a line; None if it has none."""
    stamp, _, line = text.partition(" ")
    try:
        return unix(stamp), line.rstrip("\r")[:_LONGEST]
    except ValueError:
        return None


def _record(recording: Recording, run: Run, time: float, line: str) -> None:
    recording.store.log(
        time, run.component, run.namespace, run.pod, run.container, severity_of(line), line
    )


def _run(pod: Object, status: Object) -> Run:
    return Run(
        pod=name_of(pod),
        namespace=pod["metadata"]["namespace"],
        component=component_of(pod),
        container=str(status["name"]),
        id=str(status["containerID"]),
    )


def _has_begun(status: Object) -> bool:
    state = status.get("state") or {}
    return "running" in state or "terminated" in state


class Follower:
    """Reads the log of one run until it ends.

    Args:
        connection: The way to the API server.
        run: Which run.
        since: Unix seconds; earlier lines are not asked for.
        tailing: Is told.
    """

    def __init__(
        self,
        connection: Streams,
        run: Run,
        since: float,
        tailing: Listener,
    ) -> None:
        self._connection = connection
        self._run = run
        self._since = since
        self._tailing = tailing
        self._last = ""
        """The stamp of the last line that was read, as text: the float is less exact."""
        self._loop = asyncio.get_running_loop()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._response: BaseHTTPResponse | None = None
        self.thread = threading.Thread(target=self._follow, name="pod log", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Stop."""
        with self._lock:
            self._closed.set()
            response = self._response
        if response is not None:
            with suppress(ValueError, RuntimeError, OSError):
                response.shutdown()

    def _follow(self) -> None:
        why = ""
        while not self._closed.is_set():
            try:
                self._read()
                why = ""
                # A stream may end before its container does: with the server, for one.
                if self._closed.wait(_AGAIN_S) or not self._tailing.runs(self._run):
                    break
                continue
            except KubeError as error:
                why = str(error)
                # 400: the container has not begun in the kubelet's eyes; 404: the pod is gone.
                if error.code == 404:
                    break
            except InfraError as error:
                why = str(error)
            self._closed.wait(_AGAIN_S)
        self._call(self._tailing.done, self._run, "" if self._closed.is_set() else why)

    def _read(self) -> None:
        """Read one stream to its end.

        Raises:
            KubeError: The server refused it.
            InfraError: It broke.
        """
        query = {
            "container": self._run.container, "follow": "true", "timestamps": "true",
            "sinceTime": self._last or rfc3339(self._since),
        }  # fmt: skip
        request = Request("GET", self._run.path, query, accept="*/*")
        response = self._connection.stream(request, _STREAM_S)
        until = self._last
        try:
            with self._lock:
                # Closed while the answer was on its way: nobody could wake us out of a read.
                if self._closed.is_set():
                    return
                self._response = response
            for text in _lines(response):
                self._take(text, until)
        finally:
            self._response = None
            response.close()

    def _take(self, text: str, until: str) -> None:
        """Hand on a line, unless it was read before the stream was begun anew."""
        found, stamp = stamped_line(text), text.partition(" ")[0]
        if found is None or (until and _order(stamp) <= _order(until)):
            return
        self._last = stamp
        self._call(self._tailing.took, self._run, *found)

    def _call(self, function: Callable[..., None], *args: Run | float | str) -> None:
        # The loop may have ended first: then nobody is left to be told.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)


def _join(threads: Sequence[threading.Thread]) -> None:
    """Wait a moment until threads have ended."""
    for thread in threads:
        thread.join(_END_S / max(1, len(threads)))


def _order(stamp: str) -> tuple[str, str]:
    """Return what kubelets' stamps are ordered by; they cut trailing zeros."""
    whole, _, rest = stamp.rstrip("Z").partition(".")
    return whole, rest.ljust(9, "0")


def _lines(response: BaseHTTPResponse) -> Iterator[str]:
    from urllib3.exceptions import HTTPError, ReadTimeoutError  # noqa: PLC0415 - an extra

    rest = b""
    try:
        for chunk in response.stream(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            # Of a line without end no more is kept than is recorded of it.
            rest = rest[:_LONGEST_BYTES]
            yield from (line.decode("utf-8", "replace") for line in lines)
    except ReadTimeoutError as error:
        raise InfraError("kubernetes", f"no line for {_STREAM_S:g} s: {error}") from error
    except (HTTPError, OSError, ValueError) as error:
        raise InfraError("kubernetes", f"log stream: {error}") from error
    if rest:
        yield rest.decode("utf-8", "replace")
