"""Alertmanager's HTTP API v2, for reading: alerts, groups, receivers, status.

Prometheus hands over what fires, so pending alerts are not here. Nothing can be silenced: a muted
alert would repair nothing. Not here: when an alert fires (``telemetry.rules``), groups and
fingerprints (``telemetry.notifications``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aiopslab.environments.protocol import Monitored
from aiopslab.models.signal import Alert
from aiopslab.models.timestamps import rfc3339_ms
from aiopslab.telemetry.notifications import (
    GROUP_BY,
    RECEIVER,
    fingerprint,
    generator_url,
    grouped,
    labels_of,
    started,
)
from aiopslab.telemetry.promql import QueryError
from aiopslab.telemetry.promql.matching import Regex
from aiopslab.wire.gate import Gate
from aiopslab.wire.monitoring.assembly import Api, Json, Words, assembled, build_info, constant
from aiopslab.wire.monitoring.parameters import BadParameter, Parameters, brief

if TYPE_CHECKING:
    from starlette.types import ASGIApp

VERSION = "0.28.1"
"""The release of Alertmanager whose HTTP API this is."""
VALID_S = 240.0
"""Seconds for which Prometheus vouches for an alert it sends: four times the resend delay."""
_FREE = frozenset({"/-/healthy", "/-/ready"})
_MATCHER = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|!~|!=|=)(.*)", re.DOTALL)


def alertmanager_app(env: Monitored, gate: Gate) -> ASGIApp:
    """Serve the alerts of an environment.

    Args:
        env: Whose alerts; its clock is the server's.
        gate: Each request takes its turn there.
    """
    handlers = _Alertmanager(env)
    silences = "/api/v2/silences"
    routes = [
        Route("/-/healthy", constant("OK")),
        Route("/-/ready", constant("OK")),
        Route("/api/v2/status", handlers.status),
        Route("/api/v2/receivers", handlers.receivers),
        Route("/api/v2/alerts", handlers.alerts),
        Route("/api/v2/alerts", _read_only, methods=["POST"]),
        Route("/api/v2/alerts/groups", handlers.groups),
        Route(silences, handlers.silences),
        Route(silences, _read_only, methods=["POST"]),
        Route("/api/v2/silence/{id:path}", _no_silence),
        Route("/api/v2/silence/{id:path}", _read_only, methods=["DELETE"]),
    ]
    failures: dict[type[Exception], Words] = {
        BadParameter: lambda error: Json(str(error), 400),
        QueryError: lambda error: Json(str(error), 400),
    }
    api = Api("alertmanager", alertmanager_refusal, failures, _FREE)
    return assembled(api, routes, gate, now=env.now)


def alertmanager_refusal(status: int, message: str) -> Response:
    """Refuse in Alertmanager's form."""
    return Json({"code": status, "message": message}, status)


@dataclass(frozen=True, slots=True)
class _Matcher:
    """One filter: a label, an operator, a value; a missing label counts as empty."""

    name: str
    operator: str
    test: Callable[[str], object]

    def accepts(self, labels: Mapping[str, str]) -> bool:
        return bool(self.test(labels.get(self.name, ""))) is not self.operator.startswith("!")


class _Alertmanager:
    """Handlers over one environment."""

    def __init__(self, env: Monitored) -> None:
        self._env = env

    async def alerts(self, request: Request) -> Response:
        """Serve the alerts that fire, by fingerprint."""
        p = await Parameters.of(request)
        p.flag("unprocessed", True)
        found = [self._shown(alert) for alert in await self._firing(p)]
        return Json(sorted(found, key=lambda a: str(a["fingerprint"])))

    async def groups(self, request: Request) -> Response:
        """Serve the same alerts as notifications put them together."""
        p = await Parameters.of(request)
        found = [
            {
                "labels": labels,
                "receiver": {"name": RECEIVER},
                "alerts": [self._shown(alert) for alert in alerts],
            }
            for labels, alerts in grouped(await self._firing(p))
        ]
        return Json(found)

    async def silences(self, request: Request) -> Response:
        """Serve the silences: there are none."""
        _matchers((await Parameters.of(request)).all("filter"))
        return Json([])

    async def receivers(self, _: Request) -> Response:
        """Serve the receivers."""
        return Json([{"name": RECEIVER}])

    async def status(self, _: Request) -> Response:
        """Serve version, configuration and since when it runs."""
        sampled = await self._env.telemetry.sampled()
        route = {"receiver": RECEIVER, "group_by": list(GROUP_BY)}
        config = {"route": route, "receivers": [{"name": RECEIVER}]}
        return Json(
            {
                "cluster": {"status": "disabled", "peers": []},
                "versionInfo": build_info(VERSION),
                "config": {"original": yaml.safe_dump(config, sort_keys=False)},
                "uptime": rfc3339_ms(sampled[0] if sampled else self._env.now()),
            }
        )

    async def _firing(self, p: Parameters) -> list[Alert]:
        """Return the alerts a request asks for.

        Raises:
            BadParameter: A filter, a flag or the receiver is malformed.
        """
        matchers = _matchers(p.all("filter"))
        # Nothing is silenced or inhibited, so these two flags leave nothing out.
        p.flag("silenced", True)
        p.flag("inhibited", True)
        receiver = _pattern("receiver", p.get("receiver", ".*"))
        if not p.flag("active", True) or not receiver(RECEIVER):
            return []
        return [
            alert
            for alert in await self._env.telemetry.alerts()
            if alert.state == "firing"
            and all(matcher.accepts(labels_of(alert)) for matcher in matchers)
        ]

    def _shown(self, alert: Alert) -> dict[str, Any]:
        labels, now = labels_of(alert), self._env.now()
        return {
            "annotations": dict(sorted(alert.annotations.items())),
            "endsAt": rfc3339_ms(now + VALID_S),
            "fingerprint": fingerprint(labels),
            "receivers": [{"name": RECEIVER}],
            "startsAt": rfc3339_ms(started(alert)),
            "status": {"inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active"},
            "updatedAt": rfc3339_ms(now),
            "generatorURL": generator_url(alert),
            "labels": labels,
        }


def _matchers(filters: Sequence[str]) -> list[_Matcher]:
    found = []
    for text in filters:
        parts = _MATCHER.fullmatch(text.strip().removeprefix("{").removesuffix("}"))
        if parts is None:
            raise BadParameter(f"bad matcher format: {brief(text)}")
        name, operator, value = parts[1], parts[2], parts[3].strip()
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
        test = _pattern("filter", value) if "~" in operator else value.__eq__
        found.append(_Matcher(name, operator, test))
    return found


def _pattern(name: str, text: str) -> Callable[[str], object]:
    try:
        return Regex(text).match
    except re.error as error:
        raise BadParameter(f"failed to parse {name} param: {error}") from error


async def _no_silence(_: Request) -> Response:
    return Json("silence not found", 404)


async def _read_only(_: Request) -> Response:
    return alertmanager_refusal(
        403, "this Alertmanager is read-only: alerts are neither silenced nor added here"
    )
