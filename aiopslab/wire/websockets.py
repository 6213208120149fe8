"""WebSockets of the server: uvicorn's, but the application alone judges sub-protocols.

kubectl's port-forward offers ``SPDY/3.1+portforward.k8s.io``, which is no token of HTTP (RFC 6455,
11.3.4); the library refuses the handshake before anybody is asked. Not here: what is spoken
(``kubernetes.channels``, ``kubernetes.spdy``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.server import ServerProtocol

if TYPE_CHECKING:
    from websockets.datastructures import Headers
    from websockets.typing import Subprotocol


class _Handshake(ServerProtocol):
    """A handshake that leaves sub-protocols alone."""

    def process_subprotocol(self, headers: Headers) -> Subprotocol | None:
        return None


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection; give the class to uvicorn as ``ws``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = _Handshake(
            extensions=self.conn.available_extensions,
            max_size=self.config.ws_max_size,
            logger=self.logger,
        )

    async def send(self, message: Any) -> None:
        """Send; a refusal completes the handshake, too, and is nothing to complain of."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True
