"""Clues in the signals: what metrics, logs and traces did against their own first minutes.

Not here: the state of objects (``state_rules``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import pairwise
from statistics import fmean, median

from .clues import Call, Clue, undo
from .objects import Row, container, labels, quantity, template_change
from .survey import Survey

_LOG_SIGNS: tuple[tuple[str, str, float, str], ...] = (
    # pattern, cause, weight, whether the client or the store it uses is meant
    (r"permission denied for (table|relation)", "database_permission_revoked", 6.0, "store"),
    (r"password authentication failed|WRONGPASS|NOAUTH", "credentials_mismatch", 6.0, "client"),
    (r"too many clients|remaining connection slots", "too_many_connections", 4.0, "store"),
    (r"No space left on device", "disk_full", 6.0, "store"),
    (r"OOM command not allowed", "cache_undersized", 4.5, "store"),
    (r"certificate (has expired|is not yet valid)", "certificate_expired", 6.0, "client"),
    (r"deadlock detected|lock timeout", "lock_contention", 3.5, "store"),
    (r"[Mm]issing required|not set|KeyError|required (key|variable)", "missing_configuration", 3.0,
     "client"),
)  # fmt: skip
_POOL = re.compile(
    r"pool.*(exhaust|timeout|timed out|not available)|timeout.*acquir", re.IGNORECASE
)


def signal_clues(seen: Survey) -> Iterator[Clue]:
    """Yield every clue of the signals."""
    yield from _logs(seen)
    yield from _releases(seen)
    yield from _throttling(seen)
    yield from _caches(seen)
    yield from _pools(seen)
    yield from _nodes(seen)
    yield from _edges(seen)
    yield from _origins(seen)


def shift(series: Row) -> tuple[float, float, float]:
    """Return (what the first minutes were like, the last minutes' mean, robust z-score).

    The median of the first ten points (five minutes) is the reference, so that start-up does not
    count; the last four points are now. The spread is 1.48 times the median absolute deviation.
    """
    values = [v for _, v in series["points"] if v is not None and math.isfinite(v)]
    if len(values) < 8:
        return 0.0, values[-1] if values else 0.0, 0.0
    first, last = values[: min(10, len(values) // 2)], values[-4:]
    before, now = median(first), fmean(last)
    deviation = 1.48 * median(abs(v - before) for v in first)
    spread = max(deviation, 0.05 * abs(before), 1e-6)
    return before, now, (now - before) / spread


def service_health(seen: Survey) -> dict[str, tuple[float, float]]:
    """Return service -> (share of failed requests now, p95 now divided by p95 before)."""
    errors = {s["labels"].get("service", ""): shift(s)[1] for s in seen.series["errors"]}
    health = {}
    for series in seen.series["p95"]:
        before, now, _ = shift(series)
        name = series["labels"].get("service", "")
        health[name] = (errors.get(name, 0.0), now / before if before > 0 else 1.0)
    return health


def _logs(seen: Survey) -> Iterator[Clue]:
    """Messages that name their cause."""
    told: set[tuple[str, str]] = set()
    for row in sorted(seen.patterns, key=lambda r: -r["count"]):
        name = row["service"]
        for pattern, cause, weight, meant in _LOG_SIGNS:
            if not re.search(pattern, row["pattern"]):
                continue
            where = _store_of(seen, name, row["pattern"]) if meant == "store" else name
            if meant == "client" and name not in seen.names("Deployment"):
                continue  # the store's own log of a refused client: the client's line counts
            if (where, cause) not in told:
                told.add((where, cause))
                why = f"{name} logs: {row['pattern'][:160]} (x{row['count']})"
                yield Clue(where, cause, weight, why, ("logs",))


def _releases(seen: Survey) -> Iterator[Clue]:
    """Services that do worse since a version change, and in which way."""
    health = service_health(seen)
    cpu = _per_component(seen, "cpu")
    rate = {s["labels"].get("service", ""): shift(s) for s in seen.series["rate"]}
    statements = {s["labels"].get("service", ""): shift(s) for s in seen.series["statements"]}
    for name in _rolled(seen):
        errors, slower = health.get(name, (0.0, 1.0))
        growth = _growth(rate.get(name))
        sources = ("changes", "errors", "p95")
        if errors > 0.02:
            weight = 4.0 if seen.error_origins.get(name) else 1.0
            why = f"{name}: {errors:.1%} of requests fail since its rollout"
            yield Clue(name, "errors_in_release", weight, why, sources, undo(name))
        more_cpu = _growth(cpu.get(name)) / max(growth, 0.2)
        more_sql = _growth(statements.get(name)) / max(growth, 0.2)
        if more_sql > 2.0:
            why = f"{name}: {more_sql:.1f} times the statements a request since its rollout"
            yield Clue(name, "query_regression_in_release", 5.0, why, ("statements",), undo(name))
        elif more_cpu > 1.6:
            why = f"{name}: {more_cpu:.1f} times the CPU a request since its rollout"
            yield Clue(name, "cpu_regression_in_release", 4.0, why, ("cpu",), undo(name))
        elif slower > 2.0:
            why = f"{name}: p95 is {slower:.1f} times what it was before its rollout"
            yield Clue(name, "cpu_regression_in_release", 1.0, why, ("p95",), undo(name))
        filling = _per_component(seen, "memory").get(name)
        if filling is not None and filling[1] > 0.6 and filling[2] > 6.0:
            why = f"{name}: memory climbs to {filling[1]:.0%} of the limit since its rollout"
            yield Clue(name, "memory_leak", 4.0, why, ("memory",), undo(name))


def _throttling(seen: Survey) -> Iterator[Clue]:
    """Containers that the CPU limit holds back more than before."""
    for name, (before, now, _) in sorted(_per_component(seen, "throttled").items()):
        if now > 0.4 and now > 2.0 * before:
            why = f"{name} is throttled in {now:.0%} of its periods (before {before:.0%})"
            repair = _double_limit(seen, name)
            yield Clue(name, "cpu_limit_too_low", 1.2, why, ("throttled",), repair)


def _caches(seen: Survey) -> Iterator[Clue]:
    """Caches that answer less often than before, with or without evictions."""
    evicted = {s["labels"].get("service", ""): shift(s)[1] for s in seen.series["evictions"]}
    for series in seen.series["cache_hits"]:
        before, now, _ = shift(series)
        name = series["labels"].get("server_address", "")
        if before - now < 0.15:
            continue
        why = f"{name}: hit ratio {before:.0%} -> {now:.0%}, {evicted.get(name, 0):.1f} evictions/s"
        if evicted.get(name, 0.0) > 0.1:
            sources = ("cache_hits", "evictions")
            yield Clue(name, "cache_undersized", 5.0, why, sources, _resize(seen, name))
        else:
            yield Clue(name, "cache_flushed", 3.0, why, ("cache_hits",))


def _pools(seen: Survey) -> Iterator[Clue]:
    """Clients whose requests wait for a pooled connection."""
    waiting = {}
    for series in seen.series["pool_pending"]:
        before, now, _ = shift(series)
        if now > 1.0 and now > 3.0 * before:
            waiting[series["labels"].get("service", "")] = now
    for row in seen.patterns:
        if _POOL.search(row["pattern"]) and row["count"] >= 5:
            waiting.setdefault(row["service"], 0.0)
    for name, depth in sorted(waiting.items()):
        why = f"{name}: requests wait for a pooled connection ({depth:.1f} at a time)"
        yield Clue(name, "connection_pool_too_small", 2.0, why, ("pool_pending", "logs"))
        if name in _rolled(seen):
            repair = undo(name)
            yield Clue(name, "connection_leak", 3.0, f"{why} since its rollout", ("logs",), repair)


def _nodes(seen: Survey) -> Iterator[Clue]:
    """Nodes that are busy although the app's own pods on them are not."""
    usage: dict[str, float] = {}
    where = {p["metadata"]["name"]: p["spec"].get("nodeName", "") for p in seen.objects["Pod"]}
    for series in seen.series["cpu"]:
        node = where.get(series["labels"].get("pod", ""), "")
        usage[node] = usage.get(node, 0.0) + shift(series)[1]
    for series in seen.series["node_busy"]:
        before, now, z = shift(series)
        node = series["labels"].get("instance", "").partition(":")[0]
        if node and now > 0.85 and now > before + 0.25 and z > 4.0:
            own = usage.get(node, 0.0)
            why = f"{node} is {now:.0%} busy (before {before:.0%}), the app uses {own:.1f} cores"
            yield Clue(node, "noisy_neighbour", 4.5, why, ("node_busy", "cpu"), _avoid(seen, node))


def _edges(seen: Survey) -> Iterator[Clue]:
    """Calls that are slow or fail on the way although the callee answers as before."""
    served = {s["labels"].get("service", ""): shift(s) for s in seen.series["p95"]}
    for series in seen.series["call_p95"]:
        before, now, z = shift(series)
        callee = series["labels"].get("server_address", "")
        answered = served.get(callee)
        if (
            answered is not None
            and z > 6.0
            and now - before > 0.05 + (answered[1] - answered[0]) * 2
        ):
            caller = series["labels"].get("service", "")
            why = f"{caller} -> {callee}: p95 {before:.3f} -> {now:.3f} s, {callee} itself less"
            yield Clue(callee, "network_latency", 1.5, why, ("call_p95", "p95"))


def _origins(seen: Survey) -> Iterator[Clue]:
    """Where errors begin and slow requests spend their time: a hint at the place, not the cause."""
    total = sum(seen.error_origins.values())
    for name, count in sorted(seen.error_origins.items()):
        share = count / total
        if name in seen.names() and share > 0.3:
            why = f"errors begin in {name} in {share:.0%} of the sampled traces"
            yield Clue(name, "", 1.0 * share, why, ("traces",))
    whole = sum(seen.slow_in.values())
    for name, ms in sorted(seen.slow_in.items()):
        if name in seen.names() and ms / whole > 0.4:
            why = f"{name} takes {ms / whole:.0%} of the time of slow requests"
            yield Clue(name, "", 1.0 * ms / whole, why, ("traces",))


def _rolled(seen: Survey) -> list[str]:
    """Name the services whose image changed within the change log's window."""
    found = []
    for deployment in seen.objects["Deployment"]:
        name = deployment["metadata"]["name"]
        change = template_change(deployment, seen.objects["ReplicaSet"])
        if any(path.endswith(".image") for path in change):
            found.append(name)
    return sorted(found)


def _per_component(seen: Survey, source: str) -> dict[str, tuple[float, float, float]]:
    """Return component -> the shift of its most moved pod.

    Pods come and go: what a new pod does is compared with what the component's others did first.
    """
    pods: dict[str, list[Row]] = {}
    for series in seen.series[source]:
        name = seen.component_of_pod(series["labels"].get("pod", ""))
        pods.setdefault(name, []).append(series)
    found = {}
    for name, rows in pods.items():
        start = min((r["points"][0][0] for r in rows if r["points"]), default=0.0)
        early = [shift(r)[0] for r in rows if r["points"] and r["points"][0][0] <= start + 60]
        before = fmean(early) if early else 0.0
        now = max(fmean([v for _, v in r["points"][-4:] if v is not None] or [0.0]) for r in rows)
        found[name] = (before, now, (now - before) / max(0.05 * before, 0.01))
    return found


def _growth(moved: tuple[float, float, float] | None) -> float:
    """Return now divided by before, 1 where nothing is known."""
    return moved[1] / moved[0] if moved is not None and moved[0] > 0 else 1.0


def _store_of(seen: Survey, name: str, pattern: str) -> str:
    """Return the store a client's line is about: the one it names, or the only one it uses."""
    if name not in seen.names("Deployment"):
        return name
    used = [e["callee"] for e in seen.edges if e["caller"] == name and e["declared"]]
    stores = [s for s in used if s in seen.names("StatefulSet")]
    named = [s for s in stores if s in pattern]
    database = [s for s in stores if "postgres" in s]
    return str((named or database or stores or [name])[0])


def _resize(seen: Survey, name: str) -> tuple[Call, ...]:
    """Set the memory limit of a cache back to what its manifest says."""
    stateful = seen.named("StatefulSet", name)
    if stateful is None:
        return ()
    store = container(stateful)
    words = [*store.get("command", []), *store.get("args", [])]
    for flag, value in pairwise(words):
        if flag == "--maxmemory":
            return (("cache_command", {"store": name, "command": f"CONFIG SET maxmemory {value}"}),)
    return ()


def _double_limit(seen: Survey, name: str) -> tuple[Call, ...]:
    """Give a held-back service room; also what a storm of retries needs to subside."""
    deployment = seen.named("Deployment", name)
    limit = container(deployment).get("resources", {}).get("limits", {}) if deployment else {}
    if "cpu" not in limit:
        return ()
    doubled = f"{round(quantity(limit['cpu']) * 2000)}m"
    return (("k8s_set_resources", {"name": name, "cpu_limit": doubled}),)


def _avoid(seen: Survey, node: str) -> tuple[Call, ...]:
    """Move the services that have pods on a node elsewhere; stores keep their volumes and place."""
    there = {labels(p).get("app.kubernetes.io/name", "") for p in seen.objects["Pod"]
             if p["spec"].get("nodeName") == node}  # fmt: skip
    rule = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
    wanted = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    patch = json.dumps({"spec": {"template": {"spec": {"affinity": wanted}}}})
    names = [n for n in seen.names("Deployment") if n in there]
    return tuple(("k8s_patch", {"kind": "Deployment", "name": n, "patch": patch}) for n in names)
