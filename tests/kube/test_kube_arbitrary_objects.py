"""Objects drawn from the schema itself: right fields and types, absurd values, parts missing.

An agent may send any of them. Each is stored or refused; none may break the server, or, once
stored, the printers.
"""

import contextlib
import random

import pytest
from drawn_objects import draw_message

from aiopslab.models.kube import KubeError
from aiopslab.world.kube import kinds, schema, versions
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.describe.describe import describe
from aiopslab.world.kube.patches import ownership
from aiopslab.world.kube.table.table import table


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.kind)
def test_any_object_is_stored_or_refused(api: ApiServer, kind: kinds.Kind) -> None:
    draw = random.Random(kind.kind)
    shape = schema.message(kind.schema)
    for number in range(60):
        obj = draw_message(shape, draw)
        metadata = {"name": f"x-{number}", "namespace": "shop"}
        obj |= {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        try:
            stored = api.create(obj, actor="oncall")
        except KubeError:
            continue
        name = metadata["name"]
        table(kind.kind, [stored], wide=True, now=api.now())
        describe(kind.kind, name, "shop", api=api, now=api.now())
        change = draw_message(shape, draw)
        for key in ("apiVersion", "kind", "metadata"):
            change.pop(key, None)
        with contextlib.suppress(KubeError):
            api.patch(kind.kind, name, change, namespace="shop", actor="oncall")
        with contextlib.suppress(KubeError):
            api.patch(
                kind.kind,
                name,
                {"status": change.get("status", {})},
                namespace="shop",
                subresource="status",
                actor="oncall",
            )
        changed = api.get(kind.kind, name, "shop")
        for version in ("autoscaling/v1", "events.k8s.io/v1"):
            versions.show(ownership.shown(kind, changed), version)
        table(kind.kind, [changed], wide=True, now=api.now())
        describe(kind.kind, name, "shop", api=api, now=api.now())
        with contextlib.suppress(KubeError):
            remove = [{"op": "remove", "path": "/spec"}]
            api.patch(kind.kind, name, remove, namespace="shop", type="json", actor="oncall")
