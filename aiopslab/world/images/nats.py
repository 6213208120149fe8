"""The NATS image: a container that runs nats-server with JetStream, and the ``nats`` tool.

Configuration comes from ``/etc/nats/nats.conf``; streams of file storage lie on the volume at
``/data`` and are found again at the next start. Not here: messages (``nats_server``), the API
(``nats_api``), the tool (``nats_tool``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiopslab.models.kube import ExecResult
from aiopslab.models.store import Store
from aiopslab.world.connection import Peer
from aiopslab.world.container import Container
from aiopslab.world.disk import Volume
from aiopslab.world.images import nats_api, nats_config, nats_exporter, nats_tool
from aiopslab.world.images.messages import (
    NatsAnswer,
    NatsApi,
    NatsBatch,
    NatsBind,
    NatsConnect,
    NatsErr,
    NatsInfo,
    NatsOk,
    NatsPublish,
    NatsPull,
)
from aiopslab.world.images.nats_account import Account, ApiError
from aiopslab.world.images.nats_config import ConfigFileError, ServerConfig
from aiopslab.world.images.nats_server import Client, NatsServer
from aiopslab.world.images.postgres_values import timestamp

DATA = "/data"
_START_S = 0.3
_RESTORE_S = 4e-6
"""CPU seconds to index one message of a block file at start."""
_LAME_DUCK_S = 0.2
Reply = NatsOk | NatsBatch | NatsInfo | NatsErr


class Nats:
    """The program of a NATS container.

    Args:
        store: The app's definition of this store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.server: NatsServer | None = None
        """The server while it is up."""
        self.account: Account | None = None
        """Its JetStream; None before the first start."""

    async def run(self, box: Container) -> int:
        """Serve until SIGTERM; return the exit code."""
        _log(box, "INF", "Starting nats-server")
        _log(box, "INF", f"  Version:  {self._store.image.version}")
        volume = box.volumes.get(DATA)
        try:
            config = self._configure(box, volume)
        except ConfigFileError as error:
            box.log(f"nats-server: {nats_config.CONF}: {error}", severity="FATAL")
            return 1
        account = await self._open(box, volume, config)
        self.account = account
        server = self.server = NatsServer(
            box,
            config.server_name,
            account,
            password=config.password,
            max_payload=config.max_payload,
            log=lambda level, text: _log(box, level, text),
        )
        listener = box.netns.listen(config.port, self._handle)
        nats_exporter.export(box, server)
        keeper = box.spawn(server.keep_house())
        _log(box, "INF", f"Listening for client connections on 0.0.0.0:{config.port}")
        _log(box, "INF", "Server is ready")
        try:
            await box.terminating.wait()
            _log(box, "INF", 'Trapped "terminated" signal')
            _log(box, "INF", "Entering lame duck mode, stop accepting new clients")
            await asyncio.sleep(_LAME_DUCK_S)
        finally:
            self.server = None
            server.close()
            keeper.cancel()
            listener.close()
        _log(box, "INF", "Initiating JetStream Shutdown...")
        _log(box, "INF", "JetStream Shutdown")
        _log(box, "INF", "Server Exiting..")
        return 0

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        """Run ``nats``."""
        if argv[0].rpartition("/")[2] != "nats":
            return None
        return await nats_tool.run(box, argv[1:], stdin)

    async def admin(self, command: str) -> str:
        """Publish as the operator, or ask the API: ``STREAM.PURGE {"name": "ORDERS"}``.

        Raises:
            ApiError: The server is down or answered with an error.
        """
        if self.server is None:
            raise ApiError(503, 0, "no servers available for connection")
        return nats_api.admin(self.server, command)

    def rows(self) -> dict[str, int]:
        """A queue holds no tables."""
        return {}

    def given_up(self) -> dict[str, int]:
        """Return for every stream the messages that left it before they were worked on."""
        return {} if self.account is None else dict(sorted(self.account.lost.items()))

    # -- life -------------------------------------------------------------------------------------

    def _configure(self, box: Container, volume: Volume | None) -> ServerConfig:
        return nats_config.read(
            box.files.get(nats_config.CONF, ""),
            box.env,
            name=box.pod.name,
            port=self._store.port,
            disk=self._store.volume if volume is None else volume.capacity,
        )

    async def _open(self, box: Container, volume: Volume | None, config: ServerConfig) -> Account:
        """Find JetStream's state on the volume, or create it with the declared streams."""
        limits = (config.max_file_store, config.max_memory_store)
        found = None if volume is None else volume.data.get("jetstream")
        _log(box, "INF", "Starting JetStream")
        _log(box, "INF", f"  Max Memory:      {nats_tool.size(limits[1])}")
        _log(box, "INF", f"  Max Storage:     {nats_tool.size(limits[0])}")
        _log(box, "INF", f'  Store Directory: "{DATA}/jetstream"')
        await asyncio.sleep(_START_S)
        if found is None:
            found = Account(volume, *limits)
            declared = nats_config.streams(box.files.get(nats_config.STREAMS, "{}"))
            for name, stream in (declared or self._store.streams).items():
                found.add_stream(name, stream, box.loop.time())
            if volume is not None:
                volume.data["jetstream"] = found
        assert isinstance(found, Account)
        found.restore(limits)
        for state in found.streams.values():
            await box.burn(_RESTORE_S * len(state.messages))
            if state.messages:
                count = f"{len(state.messages):,}"
                _log(box, "INF", f"  Restored {count} messages for stream '$G > {state.name}'")
        return found

    # -- the wire ---------------------------------------------------------------------------------

    async def _handle(self, message: object, peer: Peer) -> Reply | None:
        server = self.server
        if server is None:
            peer.abort()
            return None
        if isinstance(message, NatsConnect):
            return _connect(server, message, peer)
        client = peer.session
        if not isinstance(client, Client):
            # Not the protocol (an HTTP request, say), or nobody said who he is.
            peer.abort()
            return None
        match message:
            case NatsPublish():
                return await server.publish(client, message)
            case NatsPull():
                return await server.pull(client, message)
            case NatsAnswer():
                return await server.answer(client, message)
            case NatsBind():
                return await server.bind(client, message)
            case NatsApi():
                return await nats_api.answer(server, message)
        peer.abort()
        return None


def _connect(server: NatsServer, message: NatsConnect, peer: Peer) -> NatsOk | NatsErr:
    client = server.admit(peer.address, message.name, message.password)
    if client is None:
        peer.close()
        return NatsErr("Authorization Violation")
    peer.session = client
    peer.on_close(lambda: server.forget(client))
    return NatsOk()


def _log(box: Container, level: str, text: str) -> None:
    stamp = timestamp(box.loop.time()).strftime("%Y/%m/%d %H:%M:%S.%f")
    severity = {"INF": "INFO", "WRN": "WARN", "ERR": "ERROR"}[level]
    box.log(f"[1] {stamp} [{level}] {text}", severity=severity)
