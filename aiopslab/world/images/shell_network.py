"""Commands that use the world's network: curl, wget, nslookup, dig, getent, nc."""

from __future__ import annotations

import math
import re
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiopslab.models.kube import ExecResult
from aiopslab.services.protocols import (
    ConnectionRefused,
    ConnectTimeout,
    NetError,
    NoSuchHost,
    Request,
    RequestTimeout,
    Response,
    TlsError,
)
from aiopslab.world.connection import Connection
from aiopslab.world.container import Container
from aiopslab.world.tls import PUBLIC_AUTHORITY, ClientTls

Run = Callable[[Container, Sequence[str], str], Awaitable[ExecResult]]
_CONNECT_S = 130.0
"""How long the kernel retries a SYN."""
_ANSWER_S = 300.0
_REASONS = {
    200: "OK", 201: "Created", 204: "No Content", 400: "Bad Request", 401: "Unauthorized",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
    429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip


@dataclass(slots=True)
class _Curl:
    """What the command line said."""

    url: str = ""
    method: str = ""
    data: str = ""
    verbose: bool = False
    silent: bool = False
    show_error: bool = False
    fail: bool = False
    include: bool = False
    head: bool = False
    discard: bool = False
    insecure: bool = False
    write_out: str = ""
    max_time_s: float = 0.0
    connect_s: float = 0.0
    problem: str = ""


@dataclass(slots=True)
class _Fetched:
    """How a request went: ``response`` None with curl's exit code and message, or an answer."""

    response: Response | None
    code: int = 0
    message: str = ""
    address: str = ""
    seconds: float = 0.0
    connect_s: float = 0.0
    log: list[str] = field(default_factory=list)


_SWITCHES = {
    "v": "verbose", "verbose": "verbose", "s": "silent", "silent": "silent",
    "S": "show_error", "show-error": "show_error", "f": "fail", "fail": "fail",
    "k": "insecure", "insecure": "insecure",
    "i": "include", "include": "include", "I": "head", "head": "head",
}  # fmt: skip
_OPTIONS = {
    "X": "method", "request": "method", "d": "data", "data": "data", "w": "write_out",
    "write-out": "write_out", "m": "max_time_s", "max-time": "max_time_s",
    "connect-timeout": "connect_s", "o": "output", "output": "output", "H": "", "header": "",
    "A": "", "user-agent": "", "url": "url", "retry": "",
}  # fmt: skip
_IGNORED = (
    "L",
    "location",
    "g",
    "4",
    "no-progress-meter",
    "compressed",
    "http1.1",
)


def _curl_options(words: Sequence[str]) -> _Curl:
    options, rest = _Curl(), list(words)
    while rest and not options.problem:
        word = rest.pop(0)
        if not word.startswith("-"):
            options.url = word
            continue
        names = [word[2:]] if word.startswith("--") else list(word[1:])
        while names:
            name = names.pop(0)
            if name in _SWITCHES:
                setattr(options, _SWITCHES[name], True)
            elif name in _OPTIONS:
                value = "".join(names) or (rest.pop(0) if rest else "")
                names = []
                _curl_value(options, _OPTIONS[name], value)
            elif name not in _IGNORED:
                options.problem = f"curl: option {word}: is unknown"
    return options


def _curl_value(options: _Curl, name: str, value: str) -> None:
    if name in ("max_time_s", "connect_s"):
        try:
            setattr(options, name, _seconds(value))
        except ValueError:
            options.problem = f"curl: option: expected a proper numerical parameter: {value!r}"
    elif name == "output":
        options.discard = value == "/dev/null"
        if not options.discard:
            options.problem = "curl: (23) Failure writing output to destination"
    elif name:
        setattr(options, name, value)


def _seconds(text: str) -> float:
    """Read a time limit; raises ValueError."""
    found = float(text)
    if not 0.0 <= found < math.inf:
        raise ValueError(text)
    return found


async def _curl(box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    options = _curl_options(args)
    if options.problem or not options.url:
        problem = options.problem or "curl: (2) no URL specified"
        return ExecResult("", f"{problem}\n", 2)
    method = options.method or ("HEAD" if options.head else "POST" if options.data else "GET")
    fetched = await _fetch(box, method, options)
    response = fetched.response
    out, code = "", fetched.code
    if response is not None:
        head = f"HTTP/1.1 {response.status} {_REASONS.get(response.status, '')}\r\n\r\n"
        if options.include or options.head:
            out += head
        if options.fail and response.status >= 400:
            code = 22
            fetched.message = f"The requested URL returned error: {response.status}"
        elif not options.discard and not options.head:
            out += response.body
    out += _write_out(options.write_out, fetched)
    err = "".join(f"{line}\n" for line in fetched.log) if options.verbose else ""
    if code and (options.show_error or not options.silent):
        err += f"curl: ({code}) {fetched.message}\n"
    return ExecResult(out, err, code)


def _with_scheme(url: str) -> str:
    return url if "://" in url else f"http://{url}"


async def _fetch(box: Container, method: str, options: _Curl) -> _Fetched:
    try:
        url = urllib.parse.urlsplit(_with_scheme(options.url))
        port = url.port or (443 if url.scheme == "https" else 80)
    except ValueError:
        return _Fetched(None, 3, "URL using bad/illegal format or missing URL")
    host = url.hostname or ""
    if url.scheme not in ("http", "https"):
        return _Fetched(None, 1, f'Protocol "{url.scheme}" not supported')
    loop, started = box.loop, box.loop.time()
    limit = options.max_time_s or _ANSWER_S
    patience = options.connect_s or min(options.max_time_s or _CONNECT_S, _CONNECT_S)
    fetched = _Fetched(None)
    try:
        trust = ClientTls(frozenset({PUBLIC_AUTHORITY}), verify=not options.insecure)
        tls = trust if url.scheme == "https" else None
        connection = await box.netns.connect(host, port, timeout_s=patience, tls=tls)
    except NetError as error:
        fetched.seconds = loop.time() - started
        fetched.code, fetched.message = _connect_problem(error, host, port, fetched.seconds)
        fetched.log.append(f"* {fetched.message}")
        return fetched
    fetched.connect_s = loop.time() - started
    fetched.address = connection.address
    fetched.log.append(f"* Connected to {host} ({connection.address}) port {port}")
    await _exchange(connection, method, url, options, fetched, limit - fetched.connect_s)
    fetched.seconds = loop.time() - started
    return fetched


async def _exchange(
    connection: Connection,
    method: str,
    url: urllib.parse.SplitResult,
    options: _Curl,
    fetched: _Fetched,
    patience_s: float,
) -> None:
    """Send the request over a connection and note what came back."""
    path = url.path or "/"
    query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
    query |= dict(urllib.parse.parse_qsl(options.data, keep_blank_values=True))
    fetched.log += [f"> {method} {path} HTTP/1.1", f"> Host: {url.netloc}", ">"]
    try:
        answer = await connection.call(
            Request(method, path, query), timeout_s=max(0.001, patience_s)
        )
        if isinstance(answer, Response):
            fetched.response = answer
            reason = _REASONS.get(answer.status, "")
            fetched.log += [f"< HTTP/1.1 {answer.status} {reason}", "<"]
        else:
            fetched.code, fetched.message = 1, "Received HTTP/0.9 when not allowed"
    except RequestTimeout:
        spent = int((fetched.connect_s + patience_s) * 1000)
        fetched.code = 28
        fetched.message = f"Operation timed out after {spent} milliseconds with 0 bytes received"
    except NetError:
        fetched.code, fetched.message = 52, "Empty reply from server"
    finally:
        connection.close()


def _connect_problem(error: NetError, host: str, port: int, seconds: float) -> tuple[int, str]:
    spent = int(seconds * 1000)
    match error:
        case NoSuchHost():
            return 6, f"Could not resolve host: {host}"
        case ConnectionRefused():
            return (
                7,
                f"Failed to connect to {host} port {port} after {spent} ms: Connection refused",
            )
        case ConnectTimeout():
            return (
                28,
                f"Failed to connect to {host} port {port} after {spent} ms: Timeout was reached",
            )
        case TlsError():
            return 35, f"SSL connect error: {error.detail}"
    return 56, "Recv failure: Connection reset by peer"


def _write_out(layout: str, fetched: _Fetched) -> str:
    status = fetched.response.status if fetched.response else 0
    values = {
        "http_code": f"{status:03d}",
        "response_code": f"{status:03d}",
        "time_total": f"{fetched.seconds:.6f}",
        "time_connect": f"{fetched.connect_s:.6f}",
        "remote_ip": fetched.address.rpartition(":")[0],
        "exitcode": str(fetched.code),
    }
    for name, value in values.items():
        layout = layout.replace(f"%{{{name}}}", value)
    return layout.replace("\\n", "\n").replace("\\t", "\t")


def _wget_options(words: Sequence[str]) -> tuple[_Curl, bool, bool]:
    """Return the request, whether to be quiet, whether to write to standard output."""
    options, rest = _Curl(), list(words)
    quiet = stdout = False
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            options.url = word
            continue
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            names = [{"timeout": "T", "output-document": "O", "quiet": "q"}.get(name, "")]
        else:
            names, value = list(word[1:]), ""
        while names:
            name = names.pop(0)
            quiet |= name == "q"
            if name in ("O", "T", "t", "U"):
                value = value or "".join(names) or (rest.pop(0) if rest else "")
                names = []
                stdout |= name == "O" and value == "-"
                if name == "T" and value.isdecimal():
                    options.max_time_s = float(value)
    return options, quiet, stdout


async def _wget(box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    options, quiet, stdout = _wget_options(args)
    if not options.url:
        return ExecResult("", "wget: missing URL\n", 1)
    fetched = await _fetch(box, "GET", options)
    host = _with_scheme(options.url).split("/")[2]
    if fetched.response is None:
        reason = {
            6: f"bad address '{host}'",
            7: f"can't connect to remote host ({host}): Connection refused",
            28: "download timed out",
        }.get(fetched.code, "error getting response")
        return ExecResult("", f"wget: {reason}\n", 1)
    status = fetched.response.status
    if status >= 400:
        text = f"wget: server returned error: HTTP/1.1 {status} {_REASONS.get(status, '')}\n"
        return ExecResult("", text, 1)
    err = "" if quiet else f"Connecting to {host} ({fetched.address})\n"
    return ExecResult(fetched.response.body if stdout else "", err, 0)


async def _nslookup(box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    names = [word for word in args if not word.startswith("-")]
    if not names:
        return ExecResult("", "BusyBox v1.36: Usage: nslookup HOST\n", 1)
    server = box.netns.resolver.server
    head = f"Server:\t\t{server}\nAddress:\t{server}:53\n\n"
    try:
        ips = await box.netns.resolve(names[0])
    except NoSuchHost:
        return ExecResult(head, f"** server can't find {names[0]}: NXDOMAIN\n", 1)
    return ExecResult(head + "".join(f"Name:\t{names[0]}\nAddress: {ip}\n" for ip in ips), "", 0)


async def _dig(box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    names = [word for word in args if word[:1] not in "-+@" and word.upper() not in ("A", "IN")]
    name = names[0] if names else "."
    try:
        ips = await box.netns.resolve(name)
    except NoSuchHost:
        ips = []
    if "+short" in args:
        return ExecResult("".join(f"{ip}\n" for ip in ips), "", 0)
    status = "NOERROR" if ips else "NXDOMAIN"
    lines = [f";; ->>HEADER<<- opcode: QUERY, status: {status}, id: 4711", ";; ANSWER SECTION:"]
    lines += [f"{name}.\t\t5\tIN\tA\t{ip}" for ip in ips]
    server = box.netns.resolver.server
    return ExecResult("\n".join([*lines, f";; SERVER: {server}#53({server})"]) + "\n", "", 0)


async def _getent(box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    if len(args) < 2 or args[0] not in ("hosts", "ahosts", "ahostsv4"):
        return ExecResult("", f"getent: Unknown database: {' '.join(args[:1])}\n", 1)
    try:
        ips = await box.netns.resolve(args[1])
    except NoSuchHost:
        return ExecResult("", "", 2)
    return ExecResult("".join(f"{ip:<15} {args[1]}\n" for ip in ips), "", 0)


async def _nc(box: Container, args: Sequence[str], _stdin: str) -> ExecResult:
    words, rest, patience = [], list(args), 10.0
    while rest:
        word = rest.pop(0)
        if word == "-w" and rest:
            value = rest.pop(0)
            patience = float(value) if value.isdecimal() else patience
        elif not word.startswith("-"):
            words.append(word)
    if len(words) != 2 or not re.fullmatch(r"[0-9]{1,5}", words[1]):
        return ExecResult("", "usage: nc [-vz] [-w SECONDS] HOST PORT\n", 1)
    host, port = words[0], int(words[1])
    try:
        connection = await box.netns.connect(host, port, timeout_s=patience)
    except NoSuchHost:
        return ExecResult("", f"nc: bad address '{host}'\n", 1)
    except NetError as error:
        reason = "timed out" if isinstance(error, ConnectTimeout) else "Connection refused"
        address = error.address or f"{host}:{port}"
        return ExecResult("", f"nc: {host} ({address}): {reason}\n", 1)
    address = connection.address
    connection.close()
    return ExecResult("", f"{host} ({address}) open\n", 0)


async def _ping(_box: Container, _args: Sequence[str], _stdin: str) -> ExecResult:
    return ExecResult("", "ping: permission denied (are you root?)\n", 1)


COMMANDS: Mapping[str, Run] = {
    "curl": _curl,
    "dig": _dig,
    "getent": _getent,
    "nc": _nc,
    "nslookup": _nslookup,
    "ping": _ping,
    "wget": _wget,
}
