"""What the specs of workloads, Services and policies may say, in the API server's words.

The second half of ``rules``: kinds that run or connect pods, rather than pods themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from aiopslab.world.kube import quantity, selectors
from aiopslab.world.kube.errors import Cause
from aiopslab.world.kube.objects import Object, dig
from aiopslab.world.kube.validation.syntax import check_labels, check_port, check_port_name, wrong

_PERCENT = re.compile(r"^[0-9]+%\Z")
_NOT_NEGATIVE = "must be greater than or equal to 0"
_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_NAMES = re.compile(
    r"(?i)\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat)\b"
)
_CRON_WORDS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def _at_least_zero(spec: Object, path: str, *names: str) -> list[Cause]:
    return [
        wrong(f"{path}.{name}", spec[name], _NOT_NEGATIVE)
        for name in names
        if isinstance(spec.get(name), int) and spec[name] < 0
    ]


def _selects_template(spec: Object, path: str, kind: str) -> list[Cause]:
    """Hold a selector to being non-empty and to matching the template's labels."""
    selector = spec.get("selector")
    if selector is None:
        return []
    expressions = selector.get("matchExpressions") or ()
    if not all(e.get("key") and e.get("operator") for e in expressions):
        return []  # reported as missing fields
    requirements = selectors.from_object(selector)
    if not requirements:
        words = f"empty selector is invalid for {kind}"
        return [wrong(f"{path}.selector", selector, words)]
    labels = dig(spec, "template", "metadata", "labels", default={})
    if not selectors.matches(requirements, labels):
        words = "`selector` does not match template `labels`"
        return [wrong(f"{path}.template.metadata.labels", labels, words)]
    return []


def _restarts_always(spec: Object, path: str) -> list[Cause]:
    policy = dig(spec, "template", "spec", "restartPolicy", default="Always")
    if policy == "Always":
        return []
    at = f"{path}.template.spec.restartPolicy"
    return [Cause(at, f'Unsupported value: {json.dumps(policy)}: supported values: "Always"')]


def check_mounts(spec: Object, path: str, claims: Iterable[str] = ()) -> list[Cause]:
    """Hold every mount of a pod spec to a volume of it, or to a claim of the StatefulSet."""
    volumes = {*claims, *(volume.get("name") for volume in spec.get("volumes", ()))}
    return [
        Cause(
            f"{path}.{group}[{index}].volumeMounts[{place}].name",
            f"Not found: {json.dumps(mount.get('name'))}",
        )
        for group in ("initContainers", "containers")
        for index, container in enumerate(spec.get(group, ()))
        for place, mount in enumerate(container.get("volumeMounts", ()))
        if mount.get("name") not in volumes
    ]


def _template_mounts(spec: Object, path: str, claims: Iterable[str] = ()) -> list[Cause]:
    pod = dig(spec, "template", "spec", default={})
    return check_mounts(pod, f"{path}.template.spec", claims)


def _deployment(spec: Object, path: str) -> list[Cause]:
    causes = _at_least_zero(
        spec, path, "replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"
    )
    if spec.get("progressDeadlineSeconds", 600) <= spec.get("minReadySeconds", 0):
        at = f"{path}.progressDeadlineSeconds"
        deadline = spec["progressDeadlineSeconds"]
        causes.append(wrong(at, deadline, "must be greater than minReadySeconds"))
    causes += _template_mounts(spec, path)
    causes += _selects_template(spec, path, "deployment")
    return causes + _restarts_always(spec, path)


def _strategy(strategy: Object, path: str) -> list[Cause]:
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate":
        if rolling is None:
            return []
        words = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
        return [Cause(f"{path}.rollingUpdate", words)]
    rolling = rolling or {}
    causes = []
    for name in ("maxSurge", "maxUnavailable"):
        causes += _share(rolling.get(name, 0), f"{path}.rollingUpdate.{name}")
    unavailable = rolling.get("maxUnavailable", 0)
    if not causes and unavailable in (0, "0%") and rolling.get("maxSurge", 0) in (0, "0%"):
        words = "may not be 0 when `maxSurge` is 0"
        causes.append(wrong(f"{path}.rollingUpdate.maxUnavailable", unavailable, words))
    return causes


def _share(value: Any, path: str) -> list[Cause]:
    """Hold an int-or-percent to its form."""
    if isinstance(value, int):
        return [wrong(path, value, _NOT_NEGATIVE)] if value < 0 else []
    if not _PERCENT.match(value):
        words = (
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. "
            "'1%',  or '93%', regex used for validation is '[0-9]+%')"
        )
        return [wrong(path, value, words)]
    if path.endswith("maxUnavailable") and int(value[:-1]) > 100:
        return [wrong(path, value, "must not be greater than 100%")]
    return []


def _replica_set(spec: Object, path: str) -> list[Cause]:
    causes = _at_least_zero(spec, path, "replicas", "minReadySeconds")
    causes += _template_mounts(spec, path)
    return causes + _selects_template(spec, path, "deployment") + _restarts_always(spec, path)


def _stateful_set(spec: Object, path: str) -> list[Cause]:
    causes = _at_least_zero(spec, path, "replicas", "minReadySeconds", "revisionHistoryLimit")
    claims = [dig(c, "metadata", "name") for c in spec.get("volumeClaimTemplates", ())]
    causes += _template_mounts(spec, path, claims)
    return causes + _selects_template(spec, path, "statefulset") + _restarts_always(spec, path)


def _daemon_set(spec: Object, path: str) -> list[Cause]:
    causes = _at_least_zero(spec, path, "minReadySeconds", "revisionHistoryLimit")
    causes += _template_mounts(spec, path)
    return causes + _selects_template(spec, path, "daemonset") + _restarts_always(spec, path)


def _job(spec: Object, path: str) -> list[Cause]:
    causes = _at_least_zero(
        spec,
        path,
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
    )
    causes += _template_mounts(spec, path)
    policy = dig(spec, "template", "spec", "restartPolicy", default="Always")
    if policy not in ("OnFailure", "Never"):
        at = f"{path}.template.spec.restartPolicy"
        words = f'Unsupported value: "{policy}": supported values: "OnFailure", "Never"'
        causes.append(Cause(at, words))
    return causes


def _cron_job(spec: Object, path: str) -> list[Cause]:
    causes = _at_least_zero(
        spec,
        path,
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    )
    schedule = spec.get("schedule", "")
    problem = cron_problem(schedule) if schedule else ""
    if problem:
        causes.append(wrong(f"{path}.schedule", schedule, problem))
    if len(schedule) and schedule.startswith(("TZ=", "CRON_TZ=")):
        words = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        causes = [wrong(f"{path}.schedule", schedule, words)]
    return causes


def cron_problem(schedule: str) -> str:
    """Return what is wrong with a cron schedule, an empty string if nothing is."""
    if schedule.startswith("@"):
        if schedule in _CRON_WORDS or re.match(r"^@every \d", schedule):
            return ""
        return f"unrecognized descriptor: {schedule}"
    fields = schedule.split()
    if len(fields) != 5:
        return f"expected exactly 5 fields, found {len(fields)}: {json.dumps(fields)}"
    for text, (low, high) in zip(fields, _CRON_RANGES, strict=True):
        for number in re.findall(r"\d+", _CRON_NAMES.sub("1", text).partition("/")[0]):
            if int(number) < low:
                return f"beginning of range ({number}) below minimum ({low}): {text}"
            if int(number) > high:
                return f"end of range ({number}) above maximum ({high}): {text}"
        if not re.fullmatch(r"[\d*,/?LW#-]+", _CRON_NAMES.sub("1", text)):
            return f"failed to parse int from {text}"
    return ""


def _autoscaler(spec: Object, path: str) -> list[Cause]:
    causes = []
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if low < 1:
        causes.append(wrong(f"{path}.minReplicas", low, "must be greater than or equal to 1"))
    if high < 1:
        causes.append(wrong(f"{path}.maxReplicas", high, "must be greater than 0"))
    elif high < low:
        words = "must be greater than or equal to `minReplicas`"
        causes.append(wrong(f"{path}.maxReplicas", high, words))
    return causes


def _service(spec: Object, path: str) -> list[Cause]:
    causes = []
    ports = spec.get("ports") or []
    if spec.get("type") == "ExternalName":
        if not spec.get("externalName"):
            causes.append(Cause(f"{path}.externalName", "Required value"))
    elif not ports and spec.get("clusterIP") != "None":
        causes.append(Cause(f"{path}.ports", "Required value"))
    names: set[str] = set()
    for index, port in enumerate(ports):
        at = f"{path}.ports[{index}]"
        name = port.get("name")
        if len(ports) > 1 and not name:
            causes.append(Cause(f"{at}.name", "Required value"))
        elif name in names:
            causes.append(Cause(f"{at}.name", f"Duplicate value: {json.dumps(name)}"))
        names.add(name or "")
        causes += check_port_name(name, f"{at}.name")
        causes += check_port(port.get("port", 0), f"{at}.port")
        if port.get("targetPort") is not None:
            causes += check_port(port["targetPort"], f"{at}.targetPort")
    return causes + check_labels(spec.get("selector") or {}, f"{path}.selector")


def _selector_requirement(requirement: Object, path: str) -> list[Cause]:
    values = requirement.get("values")
    if requirement.get("operator") in ("In", "NotIn") and not values:
        words = "Required value: must be specified when `operator` is 'In' or 'NotIn'"
        return [Cause(f"{path}.values", words)]
    if requirement.get("operator") in ("Exists", "DoesNotExist") and values:
        words = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        return [Cause(f"{path}.values", words)]
    return []


def _toleration(toleration: Object, path: str) -> list[Cause]:
    if toleration.get("operator") == "Exists" and toleration.get("value"):
        words = "value must be empty when `operator` is 'Exists'"
        return [wrong(f"{path}.operator", toleration, words)]
    if not toleration.get("key") and toleration.get("operator") != "Exists":
        words = (
            'operator must be Exists when `key` is empty, which means "match all values and all '
            'keys"'
        )
        return [wrong(f"{path}.operator", toleration.get("operator", ""), words)]
    return []


def _quota(spec: Object, path: str) -> list[Cause]:
    return [
        wrong(f"{path}.hard[{name}]", str(value), _NOT_NEGATIVE)
        for name, value in (spec.get("hard") or {}).items()
        if quantity.parse(value) < 0
    ]


def _claim(spec: Object, path: str) -> list[Cause]:
    causes = []
    if not spec.get("accessModes"):
        words = "Required value: at least 1 access mode is required"
        causes.append(Cause(f"{path}.accessModes", words))
    if dig(spec, "resources", "requests", "storage") is None:
        causes.append(Cause(f"{path}.resources[storage]", "Required value"))
    return causes


def _disruption_budget(spec: Object, path: str) -> list[Cause]:
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        words = "minAvailable and maxUnavailable cannot be both set"
        return [wrong(path, spec, words)]
    causes = []
    for name in ("minAvailable", "maxUnavailable"):
        if spec.get(name) is not None:
            causes += _share(spec[name], f"{path}.{name}")
    return causes


def _ip_block(block: Object, path: str) -> list[Cause]:
    parts = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)\.(\d+)/(\d+)", block.get("cidr", ""))
    if parts and all(int(p) <= 255 for p in parts.groups()[:4]) and int(parts[5]) <= 32:
        return []
    words = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    return [wrong(f"{path}.cidr", block.get("cidr", ""), words)]


WORKLOAD_RULES: dict[str, Callable[[Object, str], list[Cause]]] = {
    "LabelSelectorRequirement": _selector_requirement,
    "apps.DaemonSetSpec": _daemon_set,
    "apps.DeploymentSpec": _deployment,
    "apps.DeploymentStrategy": _strategy,
    "apps.ReplicaSetSpec": _replica_set,
    "apps.StatefulSetSpec": _stateful_set,
    "autoscaling.HorizontalPodAutoscalerSpec": _autoscaler,
    "batch.CronJobSpec": _cron_job,
    "batch.JobSpec": _job,
    "core.PersistentVolumeClaimSpec": _claim,
    "core.ResourceQuotaSpec": _quota,
    "core.ServiceSpec": _service,
    "core.Toleration": _toleration,
    "networking.IPBlock": _ip_block,
    "policy.PodDisruptionBudgetSpec": _disruption_budget,
}
