"""``aiopslab cluster``: kind clusters to run on, what is on a cluster, and taking it off again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from aiopslab.cli import clean_command, output
from aiopslab.cli.on_cluster import Where, ask, rows

if TYPE_CHECKING:
    from aiopslab.environments.cluster.images import Images
    from aiopslab.environments.host_checks import Finding


@Parameter(name="*")
@dataclass(frozen=True)
class Made:
    """How a kind cluster is made."""

    node_image: str = ""
    """Image of its node. Default: a pinned one."""
    registry: str = ""
    """Put before the names of our images."""
    base: str = ""
    """Base image of ours: any with Python 3.11 or newer and venv."""
    pip_args: str = ""
    """Arguments of pip while images are built, for a mirror."""
    store_image: Annotated[list[str], Parameter(negative="")] = field(default_factory=list)
    """Image of a kind of store, KIND=REF (postgres, valkey, nats); repeatable."""


def command(
    action: Literal["up", "status", "down"],
    *apps: str,
    where: Where | None = None,
    made: Made | None = None,
    json: bool = False,
) -> int:
    """Make a kind cluster with the images of apps, list what is ours on a cluster, or remove it.

    Args:
        action: up, status or down.
        apps: For up: the apps whose images are built and put there. Default: hotel and shop.
        where: Which clusters; status and down of one that is not kind's concern what is ours on it.
        made: How a kind cluster is made.
        json: Print one JSON document instead of a table.

    Returns:
        0; for down 4 if something is still there.
    """
    from aiopslab.errors import UsageError

    where = where or Where()
    if action == "up":
        if where.context:
            raise UsageError("a cluster of yours is not made by us", hint="leave out --context")
        return _up(where, apps or ("hotel", "shop"), made or Made())
    if apps:
        raise UsageError(f"{action} takes no app", hint=f"aiopslab cluster {action}")
    return _status(where, as_json=json) if action == "status" else _down(where, as_json=json)


# -- up -------------------------------------------------------------------------------------------


def _up(where: Where, apps: tuple[str, ...], made: Made) -> int:
    from aiopslab.environments import host_checks

    lacking = [f for f in host_checks.checks() if not f.ok]
    for finding in lacking:
        output.note(f"missing: {finding.what}: {finding.detail}; {finding.fix}")
    names = where.names()
    for name in names:
        _make(name, where, made, lacking)
    _images(names, apps, made)
    chosen = "" if names == Where().names() else f" -E name={','.join(names)}"
    up = "is up" if len(names) == 1 else "are up"
    print(f"{_called(names)} {up}; next: aiopslab run lite -e kind{chosen}")
    return 0


def _make(name: str, where: Where, made: Made, lacking: list[Finding]) -> None:
    from aiopslab.environments import kind_cluster
    from aiopslab.errors import PreflightError

    if name in kind_cluster.names():
        output.note(f"{_called([name])} is there")
        return
    node = made.node_image or kind_cluster.NODE_IMAGE
    output.note(f"making {_called([name])} with {node}")
    try:
        kind_cluster.create(name, node, kubeconfig=where.kubeconfig)
    except PreflightError as error:
        why = "; ".join(f"{f.what}: {f.fix}" for f in lacking)
        raise PreflightError(str(error), hint=why or error.hint) from error


def _called(names: Sequence[str]) -> str:
    return f"kind cluster{'s' * (len(names) > 1)} {', '.join(map(repr, names))}"


def _images(names: Sequence[str], apps: tuple[str, ...], made: Made) -> None:
    """Build ours, pull the others, and put all onto the clusters."""
    from aiopslab.environments import image_builds, kind_cluster
    from aiopslab.services.catalogue import load_app

    images, client = _references(made), _engine()
    loaded = [load_app(app) for app in apps]
    ours = {b.ref: b for app in loaded for b in image_builds.builds(app, images)}
    theirs = dict(item for app in loaded for item in image_builds.pulled(app, images).items())
    root = image_builds.checkout()
    given = {"BASE": made.base, "PIP_ARGS": made.pip_args}
    arguments = {key: value for key, value in given.items() if value}
    for n, one in enumerate(ours.values(), 1):
        output.note(f"image {n} of {len(ours)}: {one.ref}")
        image_builds.build(client, one, root, arguments)
    for ref in sorted(set(theirs) - image_builds.present(client, list(theirs))):
        output.note(f"pulling {theirs[ref]}")
        image_builds.pull(client, ref, theirs[ref])
    for name in names:
        output.note(f"loading {len(ours) + len(theirs)} images onto {_called([name])}")
        kind_cluster.load(name, [*ours, *theirs])


def _references(made: Made) -> Images:
    from aiopslab.environments.cluster.images import Images
    from aiopslab.errors import UsageError

    stores = {}
    for text in made.store_image:
        kind, equals, ref = text.partition("=")
        if not (equals and ref and kind in ("postgres", "valkey", "nats")):
            raise UsageError(f"{text!r} is not KIND=REF", hint="--store-image postgres=my/pg:17")
        stores[kind] = ref
    return Images(made.registry, stores)


def _engine() -> Any:
    from aiopslab.errors import PreflightError

    try:
        import docker
        from docker.errors import DockerException
    except ImportError as error:
        words = "the Docker SDK is not installed"
        raise PreflightError(words, hint="pip install 'aiopslab[kind]'") from error
    try:
        return docker.from_env()
    except DockerException as error:
        raise PreflightError(f"no container engine: {error}", hint="aiopslab doctor") from error


# -- status, down ---------------------------------------------------------------------------------


def _status(where: Where, *, as_json: bool) -> int:
    from aiopslab.environments.cluster.cleaning import inventory
    from aiopslab.environments.cluster.labels import ours

    found = ask(where, lambda kube: inventory(kube, ours()))
    listed = rows({context: one.objects for context, one in found.items()})
    unseen = {context: dict(one.unseen) for context, one in found.items()}
    if as_json:
        output.envelope("aiopslab/cluster-status@1", {"objects": listed, "unseen": unseen})
        return 0
    if not listed:
        print("nothing of ours is there")
    else:
        output.table(list(listed[0]), [list(one.values()) for one in listed])
    for context, kinds in unseen.items():
        for kind, why in sorted(kinds.items()):
            output.note(f"{kind} of {context} could not be looked at: {why}")
    return 0


def _down(where: Where, *, as_json: bool) -> int:
    from aiopslab.environments import kind_cluster

    if where.context:
        return clean_command.command(where=where, json=as_json)
    for name in where.names():
        if name not in kind_cluster.names():
            print(f"there is no kind cluster {name!r}")
            continue
        kind_cluster.delete(name, kubeconfig=where.kubeconfig)
        print(f"kind cluster {name!r} is gone, with everything on it")
    return 0
