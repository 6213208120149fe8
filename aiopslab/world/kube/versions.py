"""Kinds that are served in a second version: what is stored, and how the other version shows it.

``autoscaling/v1`` of HorizontalPodAutoscaler (what ``kubectl autoscale`` posts) and
``events.k8s.io/v1`` of Event. As on the real server nothing is lost on the way there and back:
what ``autoscaling/v1`` has no field for travels in annotations. Neighbours: ``api`` converts what
it is sent, ``wire.kubernetes`` what it shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiopslab.world.kube.kinds import BY_KIND, Kind
from aiopslab.world.kube.objects import Object, dig

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_CURRENT = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"


@dataclass(frozen=True, slots=True)
class _Version:
    kind: Kind
    """The kind as this version has it: its schema differs from the stored one."""
    show: Callable[[Object], Object]
    store: Callable[[Object], Object]


def spoken(name: str, api_version: str) -> Kind | None:
    """Return a kind in one of its versions; None if it is not served in it."""
    kind = BY_KIND.get(name)
    if kind is not None and kind.api_version == api_version:
        return kind
    other = _OTHERS.get((name, api_version))
    return None if other is None else other.kind


def show(obj: Object, api_version: str) -> Object:
    """Return a stored object as a version of its kind shows it; the argument is not changed."""
    other = _OTHERS.get((obj["kind"], api_version))
    return obj if other is None else other.show(obj)


def store(obj: Object) -> Object:
    """Return a decoded object of any served version as the one that is stored."""
    other = _OTHERS.get((obj.get("kind", ""), obj.get("apiVersion", "")))
    return obj if other is None else other.store(obj)


def _present(**fields: Any) -> Object:
    return {name: value for name, value in fields.items() if value is not None}


def _renamed(obj: Object, names: dict[str, str]) -> Object:
    return {new: obj[old] for old, new in names.items() if old in obj}


# -- autoscaling/v1 -------------------------------------------------------------------------------


def _is_cpu(metric: Object) -> bool:
    return metric.get("type") == "Resource" and dig(metric, "resource", "name") == "cpu"


def _cpu_target(metric: Object) -> int | None:
    percent: int | None = dig(metric, "resource", "target", "averageUtilization")
    return percent if _is_cpu(metric) else None


def _show_autoscaler(obj: Object) -> Object:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    metrics, current = spec.get("metrics") or [], status.get("currentMetrics") or []
    target = next((m for m in metrics if _cpu_target(m)), None)
    cpu = next((m for m in current if _is_cpu(m)), None)
    carried = {
        _METRICS: [m for m in metrics if m is not target],
        _CURRENT: [m for m in current if m is not cpu],
        _CONDITIONS: status.get("conditions"),
        _BEHAVIOR: spec.get("behavior"),
    }
    texts = {k: json.dumps(v, separators=(",", ":")) for k, v in carried.items() if v}
    metadata = dict(obj["metadata"])
    if texts:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **texts}
    names = ("scaleTargetRef", "minReplicas", "maxReplicas")
    percent = target and _cpu_target(target)
    shown = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": {
            **{n: spec[n] for n in names if n in spec},
            **_present(targetCPUUtilizationPercentage=percent),
        },
    }
    if "status" in obj:
        moved = ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")
        used = dig(cpu, "resource", "current", "averageUtilization")
        shown["status"] = {
            **{n: status[n] for n in moved if n in status},
            **_present(currentCPUUtilizationPercentage=used),
        }
    return shown


def _store_autoscaler(obj: Object) -> Object:
    metadata = dict(obj.get("metadata", {}))
    annotations = dict(metadata.get("annotations") or {})
    carried = {k: _parsed(annotations.pop(k, "")) for k in (_METRICS, _BEHAVIOR)}
    status = _store_autoscaler_status(obj.get("status") or {}, annotations)
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    spec = dict(obj.get("spec", {}))
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    metrics = carried[_METRICS] if isinstance(carried[_METRICS], list) else []
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}, *metrics]
    if metrics:
        spec["metrics"] = metrics
    if isinstance(carried[_BEHAVIOR], dict):
        spec["behavior"] = carried[_BEHAVIOR]
    stored = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": spec,
    }
    return {**stored, "status": status} if "status" in obj else stored


def _store_autoscaler_status(status: Object, annotations: dict[str, str]) -> Object:
    """Return the stored status; takes what belongs to it out of the annotations."""
    status = dict(status)
    used = status.pop("currentCPUUtilizationPercentage", None)
    current = _parsed(annotations.pop(_CURRENT, ""))
    conditions = _parsed(annotations.pop(_CONDITIONS, ""))
    metrics = current if isinstance(current, list) else []
    if used is not None:
        cpu = {"name": "cpu", "current": {"averageUtilization": used}}
        metrics = [{"type": "Resource", "resource": cpu}, *metrics]
    if metrics:
        status["currentMetrics"] = metrics
    if isinstance(conditions, list):
        status["conditions"] = conditions
    return status


def _parsed(text: str) -> Any:
    """Return an annotation's JSON; None for what somebody else wrote there."""
    try:
        return json.loads(text)
    except ValueError:
        return None


# -- events.k8s.io/v1 -----------------------------------------------------------------------------

_EVENT_NAMES = {
    "metadata": "metadata",
    "eventTime": "eventTime",
    "series": "series",
    "reportingComponent": "reportingController",
    "reportingInstance": "reportingInstance",
    "action": "action",
    "reason": "reason",
    "involvedObject": "regarding",
    "related": "related",
    "message": "note",
    "type": "type",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}


def _show_event(obj: Object) -> Object:
    return {"apiVersion": "events.k8s.io/v1", "kind": "Event", **_renamed(obj, _EVENT_NAMES)}


def _store_event(obj: Object) -> Object:
    back = {new: old for old, new in _EVENT_NAMES.items()}
    return {"apiVersion": "v1", "kind": "Event", **_renamed(obj, back)}


_OTHERS = {
    ("HorizontalPodAutoscaler", "autoscaling/v1"): _Version(
        Kind(
            "HorizontalPodAutoscaler", "autoscaling", "v1", "horizontalpodautoscalers", ("hpa",),
            schema="autoscaling1.HorizontalPodAutoscaler",
        ),
        _show_autoscaler,
        _store_autoscaler,
    ),
    ("Event", "events.k8s.io/v1"): _Version(
        Kind("Event", "events.k8s.io", "v1", "events", ("ev",), schema="events.Event"),
        _show_event,
        _store_event,
    ),
}  # fmt: skip
