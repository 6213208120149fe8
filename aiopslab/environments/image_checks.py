"""Whether the images of apps are where they are needed: in the container engine, on the nodes.

A node is believed as far as it tells: a kubelet lists its largest images alone, and of each a few
names. Not here: which images there are (``image_builds``), what else a host or a cluster must have
(``host_checks``, ``cluster.checks``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiopslab.environments.cluster.images import Images
from aiopslab.environments.contexts import kind_cluster
from aiopslab.environments.host_checks import KIND, Finding, ask_engine
from aiopslab.environments.image_builds import builds, present, pulled
from aiopslab.environments.image_names import lacking
from aiopslab.models.kube import Object
from aiopslab.models.real import CLUSTER
from aiopslab.services.catalogue import app_names, load_app

if TYPE_CHECKING:
    from docker import DockerClient

MOST_IMAGES, MOST_NAMES = 50, 5
"""How many images, and names of one, a kubelet lists unless it is told otherwise."""
_SHOWN = 3
_ELSEWHERE = "-E registry=HOST/PATH/, with images built elsewhere"


@dataclass(frozen=True, slots=True)
class Needed:
    """The images of one app."""

    app: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    """The stores', which anybody can pull."""

    @property
    def all(self) -> tuple[str, ...]:
        """Ours first."""
        return (*self.ours, *self.theirs)


def needed(registry: str = "", *, pinned: bool = False) -> list[Needed]:
    """Return the images of every app, as ``aiopslab cluster up`` builds and pulls them.

    Args:
        registry: Put before the names of ours.
        pinned: Whether the stores' are known by their digests, as on a cluster that pulls them.

    Raises:
        UsageError: The content has an app that cannot be read.
    """
    images, found = Images(registry, pinned=pinned), []
    for name in app_names():
        app = load_app(name)
        ours = tuple(one.ref for one in builds(app, images))
        found.append(Needed(name, ours, tuple(pulled(app, images))))
    return found


def of_engine(apps: Sequence[Needed]) -> list[Finding]:
    """Look which images the container engine has; nothing is found where none answers."""
    refs = [ref for app in apps for ref in app.all]

    def question(client: DockerClient) -> Mapping[str, Any]:
        return {"present": present(client, refs)}

    found = ask_engine(question).get("present")
    return [] if found is None else [_built(app, found) for app in apps]


def _built(app: Needed, found: set[str]) -> Finding:
    absent = [ref for ref in app.all if ref not in found]
    there = f"{len(app.all) - len(absent)} of {len(app.all)} built or pulled"
    detail = f"{there}; missing: {_some(absent)}" if absent else there
    return Finding(f"images of {app.app}", not absent, detail, KIND, _up(app, CLUSTER))


def of_nodes(
    nodes: Sequence[Object], apps: Sequence[Needed], context: str, registry: str = ""
) -> list[Finding]:
    """Look which images the nodes of a cluster have.

    Args:
        nodes: The cluster's, as its API lists them.
        apps: What is looked for.
        context: Of the cluster, for what to type.
        registry: Where the cluster pulls ours from; without one it cannot.
    """
    usable = [node for node in nodes if _takes_pods(node)]
    return [_on_nodes(usable, app, context, registry) for app in apps if usable]


def _on_nodes(nodes: Sequence[Object], app: Needed, context: str, registry: str) -> Finding:
    absent = {n["metadata"]["name"]: lacking(app.all, _names(n)) for n in nodes}
    silent = {n["metadata"]["name"] for n in nodes if _tells_part(n)}
    surely = {name: refs for name, refs in absent.items() if refs and name not in silent}
    perhaps = {name: refs for name, refs in absent.items() if refs and name in silent}
    total, ok = len(app.all), True
    if surely:
        name, refs = max(surely.items(), key=lambda item: len(item[1]))
        ok = bool(registry) or not set(refs) & set(app.ours)
        others = f" (and {len(surely) - 1} more nodes lack some)" if len(surely) > 1 else ""
        detail = f"node {name} lacks {len(refs)} of {total}{others}, to be pulled: {_some(refs)}"
    elif perhaps:
        name, refs = max(perhaps.items(), key=lambda item: len(item[1]))
        detail = (
            f"{total - len(refs)} of {total} seen on node {name}, which lists some of its images "
            "only: the others may be there"
        )
    else:
        detail = f"{total} of {total} on every node"
    needed_for = f"-e kubeconfig, {app.app}"
    return Finding(f"images of {app.app} on nodes", ok, detail, needed_for, _fix(app, context))


def _takes_pods(node: Object) -> bool:
    """Return whether a pod without tolerations may run there."""
    spec = node.get("spec") or {}
    taints = spec.get("taints") or ()
    barred = any(taint.get("effect") in ("NoSchedule", "NoExecute") for taint in taints)
    return not (barred or spec.get("unschedulable"))


def _names(node: Object) -> list[str]:
    return [name for image in _images(node) for name in image.get("names") or ()]


def _tells_part(node: Object) -> bool:
    """Return whether a node may have images that it does not list."""
    images = _images(node)
    cut = any(len(image.get("names") or ()) >= MOST_NAMES for image in images)
    return cut or not images or len(images) >= MOST_IMAGES


def _images(node: Object) -> list[Mapping[str, Any]]:
    return list((node.get("status") or {}).get("images") or ())


def _some(refs: Sequence[str]) -> str:
    more = f" and {len(refs) - _SHOWN} more" if len(refs) > _SHOWN else ""
    return ", ".join(refs[:_SHOWN]) + more


def _fix(app: Needed, context: str) -> str:
    cluster = kind_cluster(context)
    return f"{_up(app, cluster)}, or {_ELSEWHERE}" if cluster else _ELSEWHERE


def _up(app: Needed, cluster: str) -> str:
    named = "" if cluster == CLUSTER else f" --name {cluster}"
    return f"aiopslab cluster up {app.app}{named}"
