"""Find a fault kind by name; the families register by being listed here."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from aiopslab.content import near
from aiopslab.errors import UsageError
from aiopslab.faults import (
    admission,
    automation,
    autoscaling,
    cache,
    certificate,
    config,
    config_policy,
    container,
    database,
    database_schema,
    database_sessions,
    database_tls,
    dns,
    flag,
    host,
    identity,
    kubernetes,
    llm_engines,
    llm_hardware,
    llm_platform,
    llm_scheduling,
    llm_tenants,
    network,
    node,
    observability,
    overload,
    partner,
    pod,
    preemption,
    queue,
    queue_limits,
    quota,
    release,
    resources,
    rollout,
    scaling,
    scheduling,
    service,
    storage,
    storage_claim,
    traffic,
    workload,
)
from aiopslab.faults.base import Fault, Site

_FAMILIES = (
    admission, automation, autoscaling, cache, certificate, config, config_policy, container,
    database, database_schema, database_sessions, database_tls, dns, flag, host, identity,
    kubernetes,
    llm_engines, llm_hardware, llm_platform, llm_scheduling, llm_tenants, network, node,
    observability, overload, partner, pod, preemption, queue, queue_limits, quota, release,
    resources, rollout, scaling, scheduling, service, storage, storage_claim, traffic, workload,
)  # fmt: skip
KINDS: dict[str, type[Fault]] = {k.kind: k for f in _FAMILIES for k in f.KINDS}


def find(kind: str) -> type[Fault]:
    """Return the class of a kind.

    Raises:
        UsageError: Unknown; the hint names near ones.
    """
    found = KINDS.get(kind)
    if found is None:
        names = sorted(KINDS)
        raise UsageError(
            f"unknown fault kind {kind!r}", hint=near(kind, names) or f"known: {', '.join(names)}"
        )
    return found


def build(kind: str, site: Site, params: dict[str, Any]) -> Fault:
    """Make a fault with checked parameters.

    Raises:
        UsageError: Unknown kind, parameters that do not fit, or a target it cannot strike.
    """
    cls = find(kind)
    if not cls.fits(site.app, site.target):
        raise UsageError(f"fault {kind!r} cannot strike {site.target!r} of {site.app.name!r}")
    try:
        return cls(site, cls.Params.model_validate(params))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"fault {kind!r}: parameter {where}: {first['msg']}") from error
