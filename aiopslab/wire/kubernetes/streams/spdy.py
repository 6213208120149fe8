"""SPDY/3 frames: as much of the protocol as port forwarding speaks.

kubectl tunnels SPDY through a WebSocket: what arrives is a stream of bytes, cut anywhere. ``Spdy``
turns bytes into events and actions into bytes; it does no input or output. Flow control is left
out, as kubectl's side does. Not here: what the streams carry (``portforward``).

Source: SPDY Protocol, draft 3 (chromium.org/spdy/spdy-protocol/spdy-protocol-draft3).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

_NAMES = (
    "options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,accept-language,"
    "accept-ranges,age,allow,authorization,cache-control,connection,content-base,"
    "content-encoding,content-language,content-length,content-location,content-md5,content-range,"
    "content-type,date,etag,expect,expires,from,host,if-match,if-modified-since,if-none-match,"
    "if-range,if-unmodified-since,last-modified,location,max-forwards,pragma,proxy-authenticate,"
    "proxy-authorization,range,referer,retry-after,server,te,trailer,transfer-encoding,upgrade,"
    "user-agent,vary,via,warning,www-authenticate,method,get,status,200 OK,version,HTTP/1.1,url,"
    "public,set-cookie,keep-alive,origin"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, "
    "Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch"
    "charset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(struct.pack(">I", len(n)) + n.encode() for n in _NAMES.split(",")) + _TAIL.encode()
)
"""What header blocks are compressed with; Adler-32 ``e3c6a7c2``."""

_VERSION = 3
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY = 1, 2, 3, 6, 7
_FIN = 1
_HEADERS_LIMIT = 64 * 1024
_FRAME_LIMIT = 2**20


class SpdyError(Exception):
    """The peer does not speak SPDY/3."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer opened a stream."""

    stream: int
    headers: Mapping[str, str]
    fin: bool


@dataclass(frozen=True, slots=True)
class Arrived:
    """Data on a stream; ``fin``: the peer sends no more."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Aborted:
    """The peer reset a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Pinged:
    """The peer wants its frame back: ``Spdy.pong``."""

    id: int


Event = Opened | Arrived | Aborted | Pinged


class Spdy:
    """The server's end of one SPDY connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes; return what they complete.

        Raises:
            SpdyError: They are no frames of SPDY/3, or too large.
        """
        self._buffer += data
        events = []
        while len(self._buffer) >= 8:
            head, size = struct.unpack(">II", self._buffer[:8])
            flags, size = size >> 24, size & 0xFFFFFF
            if size > _FRAME_LIMIT:
                raise SpdyError(f"a frame of {size} bytes")
            if len(self._buffer) < 8 + size:
                break
            body = bytes(self._buffer[8 : 8 + size])
            del self._buffer[: 8 + size]
            if head >> 31:
                event = self._control(head >> 16 & 0x7FFF, head & 0xFFFF, flags, body)
                if event is not None:
                    events.append(event)
            else:
                events.append(Arrived(head, body, bool(flags & _FIN)))
        return events

    def accept(self, stream: int) -> bytes:
        """Return the frame that accepts a stream."""
        block = self._deflate.compress(struct.pack(">I", 0))
        block += self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _control_frame(_SYN_REPLY, struct.pack(">I", stream) + block)

    def data(self, stream: int, data: bytes = b"", *, fin: bool = False) -> bytes:
        """Return a frame with data; ``fin``: this side sends no more on the stream."""
        return struct.pack(">II", stream, (_FIN if fin else 0) << 24 | len(data)) + data

    def pong(self, id: int) -> bytes:
        """Return a ping's frame."""
        return _control_frame(_PING, struct.pack(">I", id))

    def _control(self, version: int, kind: int, flags: int, body: bytes) -> Event | None:
        if version != _VERSION:
            raise SpdyError(f"version {version}")
        try:
            if kind == _SYN_STREAM:
                stream = struct.unpack_from(">I", body)[0] & 0x7FFFFFFF
                return Opened(stream, self._headers(body[10:]), bool(flags & _FIN))
            if kind == _RST_STREAM:
                return Aborted(struct.unpack_from(">I", body)[0] & 0x7FFFFFFF)
            if kind == _PING:
                return Pinged(struct.unpack_from(">I", body)[0])
        except (struct.error, UnicodeDecodeError) as error:
            raise SpdyError(f"a broken frame of type {kind}") from error
        return None

    def _headers(self, block: bytes) -> dict[str, str]:
        """Read a compressed block of names and values; names are in lower case."""
        try:
            plain = self._inflate.decompress(block, _HEADERS_LIMIT)
        except zlib.error as error:
            raise SpdyError("headers that cannot be decompressed") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError("headers that are too long")
        texts, at = [], 4
        for _ in range(2 * min(struct.unpack_from(">I", plain)[0], _HEADERS_LIMIT)):
            size = struct.unpack_from(">I", plain, at)[0]
            texts.append(plain[at + 4 : at + 4 + size].decode())
            at += 4 + size
        return {name.lower(): value for name, value in zip(texts[::2], texts[1::2], strict=True)}


def _control_frame(kind: int, body: bytes) -> bytes:
    return struct.pack(">HHI", 0x8000 | _VERSION, kind, len(body)) + body
