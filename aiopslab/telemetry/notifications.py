"""Alerts as Alertmanager hands them on: fingerprints, groups, and the webhook payload, version 4.

Pure functions of alerts. Not here: when an alert fires (``rules``), Alertmanager's HTTP API
(``wire.alertmanager``), posting a payload (``agents``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from aiopslab.models.signal import Alert
from aiopslab.models.timestamps import rfc3339_ms

RECEIVER = "on-call"
GROUP_BY = ("alertname", "namespace")
"""Labels by which alerts are put together into one notification."""
EXTERNAL_URL = "http://alertmanager.monitoring:9093"
_PROMETHEUS = "http://prometheus.monitoring:9090"
_UNENDED = "0001-01-01T00:00:00Z"
"""Go's zero time."""
_FNV_OFFSET, _FNV_PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


def labels_of(alert: Alert) -> dict[str, str]:
    """Return an alert's labels with its name among them, sorted."""
    return dict(sorted({**alert.labels, "alertname": alert.name}.items()))


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the identity of a label set as Alertmanager prints it, 16 hex digits.

    FNV-1a over the sorted names and values, each ended by the byte 255 (``LabelSet.Fingerprint`` of
    ``prometheus/common``).

    >>> fingerprint({})
    'cbf29ce484222325'
    """
    state = _FNV_OFFSET
    for pair in sorted(labels.items()):
        for text in pair:
            for byte in (*text.encode("utf-8", "replace"), 255):
                state = (state ^ byte) * _FNV_PRIME & _MASK
    return f"{state:016x}"


def generator_url(alert: Alert) -> str:
    """Return where an alert comes from: the graph of its own series in Prometheus."""
    query = urlencode({"g0.expr": f'ALERTS{{alertname="{alert.name}"}}', "g0.tab": "1"})
    return f"{_PROMETHEUS}/graph?{query}"


def grouped(alerts: Iterable[Alert]) -> list[tuple[dict[str, str], list[Alert]]]:
    """Put alerts into groups by ``GROUP_BY``; groups are sorted by their labels."""
    groups: dict[tuple[tuple[str, str], ...], list[Alert]] = {}
    for alert in alerts:
        labels = labels_of(alert)
        key = tuple((name, labels[name]) for name in GROUP_BY if name in labels)
        groups.setdefault(key, []).append(alert)
    return [(dict(key), groups[key]) for key in sorted(groups)]


def v4_payload(
    alerts: Sequence[Alert],
    *,
    receiver: str = RECEIVER,
    group_labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what Alertmanager posts to a webhook: one notification of all given alerts.

    Pending alerts are left out: Prometheus does not send them. JSON values only.

    Args:
        alerts: Firing and resolved ones.
        receiver: Name of the receiver in the configuration.
        group_labels: What the group has in common by configuration; none groups everything.
    """
    sent = [alert for alert in alerts if alert.state != "pending"]
    group = dict(sorted((group_labels or {}).items()))
    inner = ", ".join(f'{name}="{value}"' for name, value in group.items())
    firing = any(alert.state == "firing" for alert in sent)
    return {
        "version": "4",
        "groupKey": f"{{}}:{{{inner}}}",
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": _common([labels_of(alert) for alert in sent]),
        "commonAnnotations": _common([alert.annotations for alert in sent]),
        "externalURL": EXTERNAL_URL,
        "alerts": [_webhook_alert(alert) for alert in sent],
    }


def _webhook_alert(alert: Alert) -> dict[str, Any]:
    labels = labels_of(alert)
    return {
        "status": alert.state,
        "labels": labels,
        "annotations": dict(sorted(alert.annotations.items())),
        "startsAt": rfc3339_ms(started(alert)),
        "endsAt": _UNENDED if alert.resolved_at is None else rfc3339_ms(alert.resolved_at),
        "generatorURL": generator_url(alert),
        "fingerprint": fingerprint(labels),
    }


def started(alert: Alert) -> float:
    """Return since when an alert fires."""
    return alert.active_at if alert.fired_at is None else alert.fired_at


def _common(sets: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the pairs that all sets have."""
    if not sets:
        return {}
    shared = set(sets[0].items()).intersection(*(s.items() for s in sets[1:]))
    return dict(sorted(shared))
