"""One API server: its address and credentials from a kubeconfig, requests in threads.

The official client reads the kubeconfig, runs credential plugins and speaks TLS; the requests are
made here, because objects are plain dicts and refusals ``KubeError`` everywhere in this project.
A request that gets no answer is a failure of the lab: ``InfraError``. Not here: which URL an object
has (``cluster.discovery``), what is asked (``cluster.kube``), whether the context may be used at
all (``contexts``).
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import urlencode

from aiopslab.errors import InfraError, PreflightError
from aiopslab.models.kube import KubeError, Object

if TYPE_CHECKING:
    from kubernetes.client import Configuration
    from urllib3 import BaseHTTPResponse, PoolManager

P = ParamSpec("P")
T = TypeVar("T")

Closer = Callable[[], Awaitable[None]]

JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
CONNECT_S = 10.0
UNREACHED = (502, 503, 504)
"""What an API server answers for a pod behind its proxy that cannot be reached."""
_STREAMS = 100
"""Connections that are kept beside those of requests: watches, logs that are followed."""
_RETRIES = 3
"""How often a request is sent again that was not begun: no connection, or "try again later"."""
_IN_KUBECTLS_WORDS = "The request is invalid: "


@dataclass(frozen=True, slots=True)
class Reach:
    """Which cluster, as whom, and how patiently."""

    kubeconfig: str = ""
    """Path; empty is ``$KUBECONFIG``, then ``~/.kube/config``."""
    context: str = ""
    """Empty is the kubeconfig's current one."""
    in_cluster: bool = False
    """From inside a pod, as its ServiceAccount, instead of by a kubeconfig."""
    token: str = field(default="", repr=False)
    """As whom, instead of the one that the kubeconfig names; empty is that one."""
    concurrency: int = 8
    """Most requests at a time."""
    timeout_s: float = 30.0
    """Seconds the server may take to answer a request."""
    deadline_s: float = 120.0
    """Seconds after which a request counts as lost: waiting for its turn and retries included."""

    @property
    def files(self) -> str:
        """The kubeconfig files that are read, as ``$KUBECONFIG`` lists them."""
        return self.kubeconfig or os.environ.get("KUBECONFIG") or str(Path("~/.kube/config"))


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the API server."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = JSON
    accept: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Further ones, for whoever answers behind the API server's proxy."""

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


class Connection:
    """The way to one API server; close it when done.

    Making one reads files and may run a credential plugin: not on an event loop in a hurry.

    Args:
        reach: Which cluster, as whom.
        another: Gets another token, in the calling thread, once that of ``reach`` has expired.

    Raises:
        PreflightError: There is no such kubeconfig or context, or its credentials cannot be had.
    """

    def __init__(self, reach: Reach, another: Callable[[], str] | None = None) -> None:
        self.reach = reach
        self._another = another
        self._lock = threading.Lock()
        self._plugin = ""
        self.configuration, self._pools = self._connect()
        self._threads = ThreadPoolExecutor(reach.concurrency, thread_name_prefix="kubernetes")
        self._closers: set[Closer] = set()

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self.configuration.host)

    @property
    def authority_pem(self) -> str:
        """The certificates that sign the server's; empty if the host's own are used."""
        path = self.configuration.ssl_ca_cert
        return Path(path).read_text(encoding="utf-8") if path else ""

    def credentials(self) -> dict[str, str]:
        """Return the headers that say who we are; renews what a plugin gave and has expired."""
        with self._lock:
            settings = self.configuration.auth_settings()
        return {s["key"]: str(s["value"]) for s in settings.values() if s["in"] == "header"}

    # -- requests -----------------------------------------------------------------------------

    async def ask(self, request: Request) -> Any:
        """Send a request and return the JSON of its answer.

        Raises:
            KubeError: The server refused it.
            InfraError: There was no answer in time.
        """
        try:
            async with asyncio.timeout(self.reach.deadline_s):
                return await self.run(self.call, request)
        except TimeoutError as error:
            words = f"{request.method} {request.path}: no answer in {self.reach.deadline_s:g} s"
            raise InfraError("kubernetes", words) from error

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what makes requests in one of the connection's threads.

        The thread of a cancelled caller ends with its request, at the latest after its timeout.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))

    def call(self, request: Request) -> Any:
        """Do what ``ask`` does, in the calling thread."""
        text = self.text(request)
        try:
            return json.loads(text or "null")
        except ValueError as error:
            words = f"{request.method} {request.path}: the answer is no JSON: {text[:200]!r}"
            raise InfraError("kubernetes", words) from error

    def text(self, request: Request) -> str:
        """Send a request and return the text of its answer, in the calling thread.

        Raises:
            KubeError: The server refused it.
            InfraError: There was no answer in time.
        """
        return self.data(request).decode("utf-8", "replace")

    def data(self, request: Request) -> bytes:
        """Do what ``text`` does; the answer is bytes."""
        return bytes(self._send(request, self.reach.timeout_s, whole=True).data)

    def stream(self, request: Request, timeout_s: float) -> BaseHTTPResponse:
        """Send a request whose answer is read as it comes; close it.

        Raises:
            KubeError: The server refused it.
            InfraError: The connection failed.
        """
        return self._send(request, timeout_s, whole=False)

    def _send(self, request: Request, timeout_s: float, *, whole: bool) -> BaseHTTPResponse:
        response = self._once(request, timeout_s, whole=whole)
        if response.status == HTTPStatus.UNAUTHORIZED and self.renewed():
            response.close()
            response = self._once(request, timeout_s, whole=whole)
        if response.status < HTTPStatus.BAD_REQUEST:
            return response
        data = response.data
        response.close()
        raise refusal(response.status, data)

    def _once(self, request: Request, timeout_s: float, *, whole: bool) -> BaseHTTPResponse:
        from urllib3 import Retry, Timeout  # noqa: PLC0415 - the client is an extra
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        headers = {"accept": request.accept, "user-agent": "aiopslab", **request.headers}
        headers |= self.credentials()
        body = None
        if request.body is not None:
            headers["content-type"] = request.content_type
            body = json.dumps(request.body).encode()
        # An answer that was begun is never asked for twice; "try again later" was no beginning.
        again = Retry(_RETRIES, read=False, redirect=False, allowed_methods=None,
                      backoff_factor=0.2, raise_on_status=False)  # fmt: skip
        try:
            return self._pools.request(
                request.method, self.server.rstrip("/") + request.target, body=body,
                headers=headers, retries=again, preload_content=whole,
                timeout=Timeout(connect=min(CONNECT_S, timeout_s), read=timeout_s),
            )  # fmt: skip
        except HTTPError as error:
            words = f"{request.method} {self.server}{request.path}: {error}"
            raise InfraError("kubernetes", words) from error

    # -- beginning and end ----------------------------------------------------------------------

    def _connect(self) -> tuple[Configuration, PoolManager]:
        try:
            from kubernetes.client import ApiClient, Configuration  # noqa: PLC0415 - an extra
            from kubernetes.config import (  # noqa: PLC0415
                ConfigException,
                kube_config,
                load_incluster_config,
            )
        except ImportError as error:
            words = f"the Kubernetes client is not installed: {error}"
            raise PreflightError(words, hint="pip install 'aiopslab[kind]'") from error
        configuration, reach = Configuration(), self.reach
        configuration.connection_pool_maxsize = reach.concurrency + _STREAMS
        if reach.in_cluster:
            try:
                # The official client reads the token again before it expires.
                load_incluster_config(configuration)
            except ConfigException as error:
                raise PreflightError(f"this is no pod with a ServiceAccount: {error}") from error
            return configuration, ApiClient(configuration).rest_client.pool_manager
        hint = "kubectl config get-contexts"
        try:
            kube_config.load_kube_config(
                reach.files, reach.context or None, configuration, persist_config=False
            )
        except ConfigException as error:
            raise PreflightError(f"kubeconfig {reach.files!r}: {error}", hint=hint) from error
        if reach.token:
            self._plugin = ""
            _as_bearer(configuration, reach.token)
            return configuration, ApiClient(configuration).rest_client.pool_manager
        self._plugin = _plugin(reach)
        if self._plugin and not (configuration.auth_settings() or configuration.cert_file):
            raise PreflightError(
                f"the credential plugin {self._plugin!r} gave neither token nor certificate",
                hint="kubectl get --raw /version",
            )
        return configuration, ApiClient(configuration).rest_client.pool_manager

    def renewed(self) -> bool:
        """Get credentials again that the server took no longer; whether there are others.

        Raises:
            InfraError: There were once, and cannot be had any more.
        """
        if self._another is not None:
            return self._renewed_token(self._another)
        if not self._plugin:
            return False
        try:
            with self._lock:
                old = self._pools
                self.configuration, self._pools = self._connect()
        except PreflightError as error:
            raise InfraError("kubernetes", f"{error}; {error.hint}".rstrip("; ")) from error
        old.clear()
        return True

    def _renewed_token(self, another: Callable[[], str]) -> bool:
        try:
            token = another()
        except KubeError:
            # Whoever it was for is gone: then the refusal is right.
            return False
        with self._lock:
            _as_bearer(self.configuration, token)
        return True

    def on_close(self, close: Closer) -> Callable[[], None]:
        """Have something ended before the connection is; returns what takes that back."""
        self._closers.add(close)
        return lambda: self._closers.discard(close)

    async def aclose(self) -> None:
        """End watches, wait for requests that are under way, close the connections."""
        for close in tuple(self._closers):
            await close()
        await asyncio.to_thread(self._threads.shutdown)
        self._pools.clear()


def _as_bearer(configuration: Configuration, token: str) -> None:
    """Be who a token says, and nobody else: a certificate would win over it."""
    configuration.cert_file = configuration.key_file = None
    configuration.username = configuration.password = None
    configuration.refresh_api_key_hook = None
    configuration.api_key = {"authorization": f"Bearer {token}"}


def _plugin(reach: Reach) -> str:
    """Return the command of the context's credential plugin; empty if it has none."""
    from kubernetes.config import kube_config  # noqa: PLC0415

    merged = kube_config.KubeConfigMerger(reach.files).config
    wanted = reach.context or merged["current-context"]
    user = merged["contexts"].get_with_name(wanted)["context"].safe_get("user")
    found = merged["users"].get_with_name(user, safe=True) if user else None
    spec = found["user"].safe_get("exec") if found and found["user"] else None
    return str(spec["command"]) if spec else ""


def refusal(code: int, data: bytes | str) -> KubeError:
    """Read a refusal: a ``Status``, or whatever stood between the server and us.

    Args:
        code: HTTP status.
        data: The body of the answer.
    """
    status: Any = None
    with suppress(ValueError):
        status = json.loads(data)
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        return KubeError(code, _reason(code), text.strip()[:500] or _reason(code))
    return of_status(status, code)


def of_status(status: Object, code: int = 500) -> KubeError:
    """Return the error that a ``Status`` is; ``code`` is used where it does not say."""
    code = int(status.get("code") or code)
    reason = str(status.get("reason") or _reason(code))
    message, details = str(status.get("message") or reason), status.get("details") or {}
    if reason == "Invalid" and not details and " is invalid: " not in message:
        message = _IN_KUBECTLS_WORDS + message
    token = str((status.get("metadata") or {}).get("continue") or "")
    return KubeError(code, reason, message, details, continue_token=token)


def _reason(code: int) -> str:
    """Return the reason that goes with an HTTP status."""
    try:
        return HTTPStatus(code).phrase.replace(" ", "").replace("InternalServer", "Internal")
    except ValueError:
        return "Unknown"
