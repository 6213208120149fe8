"""The Environment's ``Telemetry`` on a cluster: a copy of what the observer recorded.

Before it answers, the copy takes in what is new, through the API server's service proxy, so that no
port has to be opened; then it answers by the code that answers for the simulated world. An observer
that does not answer, or has lost what it knew, is a failure of the lab. Not here: the observer
(``observer``), monitoring that is there already (``byo.telemetry``).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from aiopslab.environments.cluster.connection import UNREACHED, Connection, Request
from aiopslab.environments.refreshed_telemetry import RefreshedTelemetry
from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.models.kube import KubeError, Object
from aiopslab.models.signal import Change, StatusPost
from aiopslab.telemetry.replication.parts import Cursor, Part, PartError
from aiopslab.telemetry.replication.replica import Replica
from aiopslab.world.changelog import ChangeLog
from aiopslab.world.kube.journal import AuditEntry, Verb
from aiopslab.world.kube.objects import dig, name_of, namespace_of

A = TypeVar("A")
T = TypeVar("T")
STAGE = "telemetry"
PORT = "http"
FRESH_S = 0.5
"""Seconds for which the copy is new enough to answer from."""
APART_S = 5.0
"""Seconds by which the observer's clock may differ from ours: it records by its own."""
_AGAIN_S, _TRIES = 0.5, 4
"""How long, at first, and how often an observer that cannot be reached is asked again."""


class _Unreached(InfraError):
    """The observer cannot be reached at present."""


@dataclass(frozen=True, slots=True)
class ObserverState:
    """How the observer fares."""

    epoch: str
    """Which recording it is; another one after a restart."""
    began: float
    """When the recording began."""
    ahead_s: float
    """Seconds by which its clock is ahead of ours; half the way there and back included."""
    unsure_s: float
    """By how much that may be wrong: half the way there and back."""
    rounds: int
    """Rounds of samples made."""
    bytes: int
    """About what the recording takes in memory."""
    lacking: dict[str, str]
    """What does not answer at present, and why."""
    counts: dict[str, int]
    """How often something failed, or how many rows were refused, by what."""


class ClusterTelemetry(RefreshedTelemetry):
    """Reads what an observer recorded.

    Args:
        connection: The way to the API server.
        namespace: The lab's, where the observer is.
        service: Name of its Service, and of the Secret with its token.
        now: Unix seconds of the environment's clock.
    """

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        service: str = "observer",
        *,
        now: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._clock = now
        self._secret = f"/api/v1/namespaces/{namespace}/secrets/{service}"
        self._proxy = f"/api/v1/namespaces/{namespace}/services/{service}:{PORT}/proxy"
        self._token = ""
        self._start()

    def _start(self) -> None:
        """Begin an empty copy."""
        self._replica = Replica()
        self._refreshed_at: float | None = None
        super().__init__(self._clock, self._replica.store, self._replica.rules)

    # -- the copy ---------------------------------------------------------------------------------

    async def refresh(self, *, anyway: bool = False) -> None:
        at = self._clock()
        if not anyway and self._refreshed_at is not None and at - self._refreshed_at < FRESH_S:
            return
        replica, more = self._replica, True
        while more:
            cursor = replica.cursor
            part = await self._patiently(self._fetch, cursor)
            # Somebody else may have been faster, or have begun a new copy.
            if replica is self._replica and replica.cursor == cursor:
                try:
                    replica.take(part)
                except PartError as error:
                    raise InfraError(STAGE, f"the observer's export: {error}") from error
            more = part.more
        self._refreshed_at = at

    def _fetch(self, cursor: Cursor) -> Part:
        """Get the part that follows, in the calling thread."""
        data = self._call(Request("GET", "/export", {"since": str(cursor)}, accept="*/*"))
        try:
            return Part.unpack(data)
        except PartError as error:
            raise InfraError(STAGE, f"the observer's export: {error}") from error

    # -- the observer -----------------------------------------------------------------------------

    async def begin(self, *, clear: bool = False) -> ObserverState:
        """Tell the observer that writes are changes from now on.

        Args:
            clear: Also let it forget what it recorded so far, and begin a new copy.

        Raises:
            InfraError: It does not answer, or its clock and ours tell different times.
        """
        query = {"clear": "1"} if clear else {}
        state = await self._about(Request("POST", "/begin", query))
        if abs(state.ahead_s) > APART_S + state.unsure_s:
            which = "ahead of" if state.ahead_s > 0 else "behind"
            words = f"the clock of the observer's machine is {abs(state.ahead_s):.0f} s {which}"
            raise InfraError(STAGE, f"{words} this host's; set both by NTP")
        if clear:
            self._start()
        return state

    async def state(self) -> ObserverState:
        """Return how the observer fares.

        Raises:
            InfraError: It does not answer.
        """
        return await self._about(Request("GET", "/state"))

    async def _about(self, request: Request) -> ObserverState:
        before = self._clock()
        data = await self._patiently(self._call, request)
        about: Any = _json(data)
        try:
            after = self._clock()
            ahead = float(about["now"]) - (before + after) / 2.0
            return ObserverState(
                epoch=about["epoch"], began=about["began"], ahead_s=ahead,
                unsure_s=(after - before) / 2.0, rounds=about["rounds"], bytes=about["bytes"],
                lacking=about["lacking"], counts=about["counts"],
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise InfraError(STAGE, f"the observer's answer is malformed: {error}") from error

    async def _patiently(self, ask: Callable[[A], T], asked: A) -> T:
        """Ask in a thread; everything that is asked may be asked twice.

        Raises:
            InfraError: It does not answer.
        """
        for attempt in range(_TRIES - 1):
            try:
                return await self._connection.run(ask, asked)
            except _Unreached:
                # A busy machine fails a probe, and its pod is no endpoint for a moment.
                await asyncio.sleep(_AGAIN_S * 2**attempt)
        return await self._connection.run(ask, asked)

    def _call(self, request: Request) -> bytes:
        """Ask the observer, in the calling thread.

        Raises:
            InfraError: It does not answer.
        """
        token = self._known_token()
        path = f"{self._proxy}/e/{token}{request.path}"
        asked = Request(request.method, path, request.query, accept=request.accept)
        try:
            return self._connection.data(asked)
        except KubeError as error:
            if error.code == 410:
                words = f"the observer was restarted, and what it knew is lost: {error}"
                raise InfraError(STAGE, words) from None
            if error.code == 401:
                self._token = ""
            words = str(error).replace(token, "...")
            kind = _Unreached if error.code in UNREACHED else InfraError
            raise kind(STAGE, f"the observer: {error.code} {words}") from None
        except InfraError as error:
            # The path has the token in it.
            words = error.message.replace(token, "...")
            raise InfraError(STAGE, f"the observer does not answer: {words}") from None

    def _known_token(self) -> str:
        """Return the token, read from its Secret once."""
        if not self._token:
            try:
                secret: Object = self._connection.call(Request("GET", self._secret))
                text = str(dig(secret, "data", "token") or "")
                self._token = base64.b64decode(text, validate=True).decode("ascii")
            except (KubeError, binascii.Error, UnicodeDecodeError) as error:
                raise InfraError(STAGE, f"the observer's token: {error}") from error
            if not self._token:
                raise InfraError(STAGE, f"the Secret {self._secret} has no token")
        return self._token

    # -- what we know better ----------------------------------------------------------------------

    def record_change(self, change: Change) -> None:
        """Enter a change that Kubernetes does not see, or of which we know who made it."""
        self._replica.know(change)

    def record_post(self, post: StatusPost) -> None:
        """Enter what a partner published on its status page."""
        self._replica.store.post(post)

    def recorder(self, app: App) -> Callable[[str, Verb, Object | None, Object | None], None]:
        """Return what ``ClusterKube`` tells of its writes, for the change log to name who it was.

        Args:
            app: The app, with the namespace it is in; knows release notes.
        """
        log = ChangeLog(app, self.record_change)

        def record(actor: str, verb: Verb, before: Object | None, after: Object | None) -> None:
            obj = after if after is not None else before
            if obj is not None:
                log.on_audit(
                    AuditEntry(
                        self._clock(),
                        actor,
                        verb,
                        obj["kind"],
                        namespace_of(obj),
                        name_of(obj),
                        before,
                        after,
                    )
                )

        return record


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise InfraError(STAGE, f"the observer's answer is malformed: {error}") from error
