"""What a Prometheus server says about itself: rules, alerts, targets, build, configuration, size.

Everything is derived from the environment's telemetry. Where a figure would be one of a real
server's process (goroutines, chunks on disk), it is left out rather than made up. Not here:
queries (``prometheus``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import yaml
from starlette.requests import Request

from aiopslab.environments.protocol import Monitored, ScrapeTarget
from aiopslab.models.signal import Alert
from aiopslab.models.timestamps import rfc3339_ms
from aiopslab.telemetry.promql.selectors import LOOKBACK_MS
from aiopslab.telemetry.promql.values import MAX_SAMPLES
from aiopslab.telemetry.rules import GroupStatus, RuleStatus
from aiopslab.telemetry.samples import NAME
from aiopslab.wire.monitoring.assembly import build_info
from aiopslab.wire.monitoring.parameters import BadParameter, Parameters, brief

VERSION = "3.13.0"
"""The release of Prometheus whose HTTP API this is."""
_NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: not evaluated yet."""
_TOP = 10


class Status:
    """Handlers of rules, alerts, targets and status.

    Args:
        env: The environment.
    """

    def __init__(self, env: Monitored) -> None:
        self._env = env
        self._telemetry = env.telemetry

    def handlers(self) -> dict[str, Callable[[Parameters, Request], Any]]:
        """Return them by path."""
        return {
            "rules": self.rules,
            "alerts": self.alerts,
            "targets": self.targets,
            "targets/metadata": self.targets_metadata,
            "scrape_pools": self.scrape_pools,
            "alertmanagers": self.alertmanagers,
            "status/buildinfo": self.buildinfo,
            "status/runtimeinfo": self.runtimeinfo,
            "status/config": self.config,
            "status/flags": self.flags,
            "status/tsdb": self.tsdb,
        }

    async def rules(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``rules``, filtered by type, name, group and file."""
        wanted = p.get("type")
        if wanted not in ("", "alert", "record"):
            raise BadParameter(f'invalid parameter "type": not supported value {brief(wanted)}')
        names = p.all("rule_name[]", "rule_name")
        groups = p.all("rule_group[]", "rule_group")
        files = p.all("file[]", "file")
        with_alerts = not p.flag("exclude_alerts", False)
        shown = []
        for group in await self._telemetry.rule_groups():
            if (groups and group.name not in groups) or (files and group.file not in files):
                continue
            rules = [
                _rule(status, with_alerts)
                for status in group.rules
                if (not wanted or status.rule.kind.startswith(wanted))
                and (not names or status.rule.name in names)
            ]
            # Asked for particular rules, Prometheus leaves out groups that have none of them.
            if rules or not (names or wanted):
                shown.append(_group(group, rules))
        return {"groups": shown}

    async def alerts(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``alerts``: pending and firing ones."""
        return {"alerts": [_alert(alert) for alert in await self._telemetry.alerts()]}

    async def targets(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``targets``."""
        state, pool = p.get("state", "any").lower(), p.get("scrapePool")
        active = [
            _target(target)
            for target in await self._telemetry.scrape_targets()
            if state != "dropped" and pool in ("", target.labels["job"])
        ]
        return {
            "activeTargets": active,
            "droppedTargets": [],
            "droppedTargetCounts": {t["scrapePool"]: 0 for t in active},
        }

    async def targets_metadata(self, p: Parameters, _: Request) -> list[dict[str, Any]]:
        """Serve ``targets/metadata`` for the targets that ``match_target`` selects."""
        matcher, metric = p.get("match_target"), p.get("metric")
        limit = p.whole("limit", 0, most=10**9)
        families = await self._telemetry.families()
        now = self._env.now()
        wanted = await self._targets_of(matcher)
        found = []
        for target in await self._telemetry.scrape_targets():
            own = (target.labels["job"], target.labels["instance"])
            if wanted is not None and own not in wanted:
                continue
            selector = '{{job="{}",instance="{}"}}'.format(*map(_escaped, own))
            names = await self._telemetry.label_values(
                NAME, [selector], target.scraped_at, max(now, target.scraped_at)
            )
            described = _described(names, families)
            found += [
                {"target": dict(target.labels), "metric": name, **families[name]}
                for name in described
                if not metric or name == metric
            ]
        return found[:limit] if limit else found

    async def _targets_of(self, matcher: str) -> set[tuple[str, str]] | None:
        """Return job and instance of the targets that a selector matches; None is all."""
        if not matcher:
            return None
        found = await self._telemetry.series([matcher], 0.0, self._env.now())
        return {(s.get("job", ""), s.get("instance", "")) for s in found if s.get(NAME) == "up"}

    async def scrape_pools(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``scrape_pools``."""
        return {"scrapePools": _jobs(await self._telemetry.scrape_targets())}

    async def alertmanagers(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``alertmanagers``."""
        url = "http://alertmanager.monitoring:9093/api/v2/alerts"
        return {"activeAlertmanagers": [{"url": url}], "droppedAlertmanagers": []}

    async def buildinfo(self, p: Parameters, _: Request) -> dict[str, str]:
        """Serve ``status/buildinfo``: which API to expect."""
        return build_info(VERSION)

    async def runtimeinfo(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``status/runtimeinfo``; ``serverTime`` is the clock that times are meant in."""
        sampled = await self._telemetry.sampled()
        begun = rfc3339_ms(sampled[0]) if sampled else _NEVER
        return {
            "startTime": begun,
            "serverTime": rfc3339_ms(self._env.now()),
            "reloadConfigSuccess": True,
            "lastConfigTime": begun,
            "corruptionCount": 0,
        }

    async def config(self, p: Parameters, _: Request) -> dict[str, str]:
        """Serve ``status/config``: intervals, rule files and jobs."""
        targets = await self._telemetry.scrape_targets()
        groups = await self._telemetry.rule_groups()
        pace = {f"{t.interval_s:g}s" for t in targets}
        every = {f"{g.interval_s:g}s" for g in groups}
        document = {
            "global": {
                **({"scrape_interval": min(pace)} if pace else {}),
                **({"evaluation_interval": min(every)} if every else {}),
            },
            "alerting": {
                "alertmanagers": [
                    {"static_configs": [{"targets": ["alertmanager.monitoring:9093"]}]}
                ]
            },
            "rule_files": list(dict.fromkeys(g.file for g in groups)),
            "scrape_configs": [{"job_name": job} for job in _jobs(targets)],
        }
        return {"yaml": yaml.safe_dump(document, sort_keys=False)}

    async def flags(self, p: Parameters, _: Request) -> dict[str, str]:
        """Serve ``status/flags``: those that bear on what queries answer."""
        return {
            "query.lookback-delta": f"{LOOKBACK_MS / 60_000:g}m",
            "query.max-samples": str(MAX_SAMPLES),
            "web.enable-admin-api": "false",
            "web.enable-lifecycle": "false",
            "web.enable-otlp-receiver": "false",
            "web.enable-remote-write-receiver": "false",
        }

    async def tsdb(self, p: Parameters, _: Request) -> dict[str, Any]:
        """Serve ``status/tsdb``: how many series there are, and of what."""
        top = p.whole("limit", _TOP, most=10_000)
        now = self._env.now()
        series = await self._telemetry.series([f'{{{NAME}!=""}}'], 0.0, now)
        pairs = Counter(pair for s in series for pair in s.items())
        values = Counter(name for name, _ in pairs)
        sizes: Counter[str] = Counter()
        for name, value in pairs:
            sizes[name] += len(value.encode("utf-8", "replace"))
        sampled = await self._telemetry.sampled() or (0.0, 0.0)
        first, last = (int(t * 1000) for t in sampled)
        return {
            "headStats": {
                "numSeries": len(series), "numLabelPairs": len(pairs),
                "minTime": first, "maxTime": last,
            },
            "seriesCountByMetricName": _ranked(Counter(s[NAME] for s in series), top),
            "labelValueCountByLabelName": _ranked(values, top),
            "memoryInBytesByLabelName": _ranked(sizes, top),
            "seriesCountByLabelValuePair": _ranked(
                Counter({f"{n}={v}": count for (n, v), count in pairs.items()}), top
            ),
        }  # fmt: skip


def _group(group: GroupStatus, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": group.name,
        "file": group.file,
        "rules": rules,
        "interval": group.interval_s,
        "limit": 0,
        # Evaluating takes none of the cluster's time.
        "evaluationTime": 0,
        "lastEvaluation": _evaluated(group.last_evaluation),
    }


def _rule(status: RuleStatus, with_alerts: bool) -> dict[str, Any]:
    rule = status.rule
    common: dict[str, Any] = {
        "name": rule.name,
        "query": rule.expr.strip(),
        "labels": dict(sorted(rule.labels.items())),
        "health": status.health,
        "evaluationTime": 0,
        "lastEvaluation": _evaluated(status.last_evaluation),
        "type": rule.kind,
    }
    if status.last_error:
        common["lastError"] = status.last_error
    if rule.kind == "recording":
        return common
    return {
        "state": status.state,
        **common,
        "duration": rule.for_,
        "keepFiringFor": rule.keep_firing_for,
        "annotations": dict(sorted(rule.annotations.items())),
        "alerts": [_alert(a) for a in status.alerts] if with_alerts else [],
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "labels": dict(sorted({**alert.labels, "alertname": alert.name}.items())),
        "annotations": dict(sorted(alert.annotations.items())),
        "state": alert.state,
        "activeAt": rfc3339_ms(alert.active_at),
        # An infinite or undefined value is not kept (``models.signal``).
        "value": "NaN" if alert.value is None else scientific(alert.value),
    }


def scientific(value: float) -> str:
    """Write a number as Prometheus writes the values of alerts: shortest, with an exponent.

    >>> scientific(1.0), scientific(0.25), scientific(-1500.0), scientific(0.0)
    ('1e+00', '2.5e-01', '-1.5e+03', '0e+00')
    """
    digits, _, exponent = f"{Decimal(repr(value)).normalize():e}".partition("e")
    return f"{digits}e{int(exponent):+03d}"


def _target(target: ScrapeTarget) -> dict[str, Any]:
    job, instance = target.labels["job"], target.labels["instance"]
    url, every = f"http://{instance}/metrics", f"{target.interval_s:g}s"
    refused = f'Get "{url}": dial tcp {instance}: connect: connection refused'
    return {
        "discoveredLabels": {"__address__": instance, "__metrics_path__": "/metrics",
                             "__scheme__": "http", "job": job},
        "labels": dict(sorted(target.labels.items())),
        "scrapePool": job,
        "scrapeUrl": url,
        "globalUrl": url,
        # Nothing listens where no process runs, the only way a scrape fails.
        "lastError": "" if target.up else refused,
        "lastScrape": rfc3339_ms(target.scraped_at),
        "lastScrapeDuration": 0,
        "health": "up" if target.up else "down",
        "scrapeInterval": every,
        "scrapeTimeout": every,
    }  # fmt: skip


def _described(names: Iterable[str], families: Mapping[str, Any]) -> list[str]:
    """Return the families that series' names belong to."""
    found: set[str] = set()
    for name in names:
        stems = (name.removesuffix(s) for s in ("", "_bucket", "_sum", "_count"))
        found.update(stem for stem in stems if stem in families)
    return sorted(found)


def _evaluated(time: float | None) -> str:
    return _NEVER if time is None else rfc3339_ms(time)


def _jobs(targets: Iterable[ScrapeTarget]) -> list[str]:
    return sorted({t.labels["job"] for t in targets})


def _ranked(counts: Counter[str], top: int) -> list[dict[str, Any]]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"name": name, "value": value} for name, value in ranked[:top]]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
