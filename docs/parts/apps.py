"""The apps that come along, and which metrics are there on a cluster."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from aiopslab.models.app import App
from aiopslab.observer import kubelet
from aiopslab.services import catalogue
from aiopslab.telemetry import catalogue as metrics
from parts.markdown import cell, table


def apps() -> str:
    """Return every app that comes along: its size, journeys with promises, services and stores."""
    return "\n".join(_app(catalogue.load_app(name)) for name in catalogue.app_names())


def _app(app: App) -> str:
    rate = sum(journey.rate * len(journey.steps) for journey in app.journeys.values())
    kinds = Counter(store.kind for store in app.stores.values())
    stores = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
    journeys = [
        [f"`{name}`", ", ".join(f"`{step.request}`" for step in journey.steps), f"{journey.rate:g}",
         f"{app.slos[name].success:.0%}", f"{app.slos[name].p95_ms:g}", len(app.needs(name))]
        for name, journey in app.journeys.items()
    ]  # fmt: skip
    parts = [
        [f"`{name}`", s.language, s.replicas, ", ".join(s.depends_on()), s.owner, cell(s.summary)]
        for name, s in app.services.items()
    ]
    held = [[f"`{name}`", s.kind, s.owner, cell(s.summary)] for name, s in app.stores.items()]
    return "\n".join(
        [
            f"## {app.name}\n",
            f"{cell(app.summary)} {len(app.services)} services; stores: {stores}; "
            f"{len(app.nodes)} nodes; {rate:g} requests/s at load 1.\n",
            table(["Journey", "Requests", "Starts/s", "Success", "p95 ms", "Needs"], journeys),
            "",
            table(["Service", "Language", "Replicas", "Needs", "Owner", "What it does"], parts),
            "",
            table(["Store", "Kind", "Owner", "What it holds"], held),
            "",
        ]
    )


def metrics_on_cluster() -> str:
    """Return which metrics of the catalogue are there on a cluster, and whence."""
    known = metrics.load()
    sources = {
        "cAdvisor, through the API server": kubelet.CONTAINER,
        "The kubelet's summary": kubelet.VOLUME,
        "cAdvisor and the kubelet's summary, under node_exporter's names": kubelet.MACHINE,
        "Watches": [n for n in known if n.startswith("kube_")],
        "The stores themselves": [
            n for n in known if n.startswith(("pg_", "redis_", "nats_", "jetstream_"))
        ],
        "Rounds and rules": ("up", "ALERTS"),
    }
    absent = [
        n
        for n in known
        if n.startswith(("node_", "resctrl_", "fabric_", "vm_", "platform_"))
        and n not in kubelet.MACHINE
    ]
    told = {n for names in sources.values() for n in names} | set(absent)
    sources["The app's programs, over OTLP"] = [n for n in known if n not in told]
    rows = [[source, _metric_names(names)] for source, names in sources.items()]
    rows.append(["Nobody: absent on a cluster", _metric_names(absent)])
    return table(["From", "Metrics"], rows)


def _metric_names(names: Sequence[str]) -> str:
    """List metrics; families of many members in short."""
    if len(names) > 40:
        parts = Counter(re.split("[_:]", name)[0] for name in names)
        return ", ".join(f"`{part}` ({count})" for part, count in sorted(parts.items()))
    return ", ".join(f"`{name}`" for name in sorted(names))
