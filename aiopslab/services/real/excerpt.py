"""What of an app one image carries: what its processes read, of one version, and nothing to read.

``app.yaml`` says which releases and flags hide what defects, how everything was set up, what users
do and what they are promised; whoever looks into a container must find none of it. An excerpt has
the services of one image at one version and of others what is needed to reach them. A defect of
that version, or of a flag, is numbers without names, and the file is compressed: as with a compiled
program, what it does wrong is seen by watching it. That keeps answers from who reads and searches
files, not from who takes the program apart. Not here: the program itself (``packing``).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiopslab import content
from aiopslab.errors import ContentError, UsageError
from aiopslab.models.app import App
from aiopslab.models.external import External, ExternalEndpoint
from aiopslab.models.intent import Intent
from aiopslab.models.journey import Load
from aiopslab.models.service import Bug, Release, Service
from aiopslab.models.store import Store
from aiopslab.models.workload import Resources
from aiopslab.services.config import targets

_PLAIN, _SEALED = "bug", "traits"
_ORDER = list(Bug.model_fields)


def excerpt(app: App, service: str = "", version: str = "") -> App:
    """Return what an image carries.

    Args:
        app: The app.
        service: The service whose image it is, and that of those which share it; empty: the image
            of the app's partners.
        version: Version of the image; empty: the deployed one.

    Raises:
        UsageError: There is no such service, or no such version of it.
    """
    partners = app.externals if not service else {}
    kept = _sharing(app, service, version) if service else {}
    called = {target for name in kept for target in targets(app, name)}
    everyone = any(spec.program for spec in kept.values())
    peers = {
        name: _peer(spec)
        for name, spec in app.services.items()
        if name not in kept and (everyone or name in called)
    }
    stores = {name for spec in kept.values() for name in spec.uses.values()}
    return app.model_copy(
        update={
            "title": "", "summary": "", "load": Load(), "intent": Intent(),
            "journeys": {}, "slos": {}, "owners": {}, "history": [],
            "nodes": app.nodes if everyone else [],
            "services": kept | peers,
            "stores": {n: _store(s) for n, s in app.stores.items() if n in stores},
            "externals": {n: _partner(e) for n, e in app.externals.items() if n in called}
            or partners,
            "flags": {
                name: flag.model_copy(update={"description": ""})
                for name, flag in app.flags.items()
                if kept.keys() & set(flag.services)
            },
            "jobs": {n: job for n, job in app.jobs.items() if job.service in kept},
        }
    )  # fmt: skip


def write(part: App, path: Path) -> None:
    """Write an excerpt."""
    told = _sealed(part.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    path.write_bytes(zlib.compress(json.dumps(told).encode(), 9))


def read(path: Path) -> App:
    """Read an excerpt.

    Raises:
        ContentError: It cannot be read, or is none.
    """
    try:
        told = json.loads(zlib.decompress(path.read_bytes()))
    except OSError as error:
        raise ContentError(str(path), f"cannot be read: {error.strerror}") from error
    except (zlib.error, ValueError) as error:
        raise ContentError(str(path), "is no excerpt of an app") from error
    return App.model_validate(_opened(told))


def _sharing(app: App, service: str, version: str) -> dict[str, Service]:
    """Return the services that run an image, as they are at a version of it."""
    if service not in app.services:
        hint = content.near(service, list(app.services))
        raise UsageError(f"unknown service {service!r}", hint=hint)
    image = app.services[service].image
    version = version or image.version
    known = [image.version, *app.services[service].releases]
    if version not in known:
        hint = content.near(version, known) or f"there are: {', '.join(sorted(known))}"
        raise UsageError(f"unknown version {version!r}", hint=hint)
    return {
        name: _at(spec, version)
        for name, spec in app.services.items()
        if spec.image.name == image.name
    }


def _at(spec: Service, version: str) -> Service:
    release = spec.releases.get(version)
    bare = {version: release.model_copy(update={"changes": "", "migration": []})} if release else {}
    image = spec.image.model_copy(update={"version": version})
    return _bare(spec).model_copy(update={"image": image, "releases": _telling(bare)})


def _telling(releases: Mapping[str, Release]) -> dict[str, Release]:
    """Leave out a release that does nothing else than the deployed version."""
    return {key: each for key, each in releases.items() if each.bug or each.columns}


def _peer(spec: Service) -> Service:
    """Return what others need of a service: where it is, and how it is set up."""
    work: dict[str, Any] = {"releases": {}, "consumers": {}, "background": [], "endpoints": {}}
    return _bare(spec).model_copy(update=work)


def _bare(spec: Service) -> Service:
    """Leave out how a service was deployed: a process has that from its pod.

    Named programs look at the settings of those they steer.
    """
    deployed: dict[str, Any] = {
        "summary": "", "owner": "", "replicas": 1, "resources": Resources(), "env": {},
        "readiness": None, "liveness": None,
    }  # fmt: skip
    return spec.model_copy(update=deployed if spec.program else deployed | {"config": {}})


def _store(spec: Store) -> Store:
    """Return what clients need of a store."""
    bare: dict[str, Any] = {"summary": "", "owner": "", "config": {}, "users": {}, "tables": {}}
    return spec.model_copy(update=bare)


def _partner(spec: External) -> External:
    """Return what callers need of a partner."""
    return External(
        summary="", owner="", provider="", host=spec.host, address=spec.address, port=spec.port,
        tls=spec.tls, endpoints={key: ExternalEndpoint() for key in spec.endpoints},
        tokens=spec.tokens,
    )  # fmt: skip


def _sealed(node: Any) -> Any:
    """Return the same with defects as numbers in a fixed order."""
    if isinstance(node, list):
        return [_sealed(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {key: _sealed(value) for key, value in node.items() if key != _PLAIN}
    if bug := node.get(_PLAIN):
        found[_SEALED] = [bug.get(field) for field in _ORDER]
    return found


def _opened(node: Any) -> Any:
    """Undo ``_sealed``."""
    if isinstance(node, list):
        return [_opened(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {key: _opened(value) for key, value in node.items() if key != _SEALED}
    if values := node.get(_SEALED):
        pairs = zip(_ORDER, values, strict=True)
        found[_PLAIN] = {field: value for field, value in pairs if value is not None}
    return found
