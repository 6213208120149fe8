"""An API server with one namespace, at a clock the test moves, and objects to put into it."""

from collections.abc import Callable
from typing import Any

import pytest

from aiopslab.seeds import Streams
from aiopslab.world.kube.api import ApiServer

START = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(clock: Clock) -> ApiServer:
    server = ApiServer(clock, Streams(7))
    for name in ("default", "shop"):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        server.create(namespace, actor="system:bootstrap")
    return server


@pytest.fixture
def pod_spec() -> dict[str, Any]:
    return {
        "containers": [
            {
                "name": "web",
                "image": "shop/web:1.2",
                "ports": [{"containerPort": 8080}],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
            }
        ]
    }


@pytest.fixture
def deployment(pod_spec: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    def build(name: str = "web", **spec: Any) -> dict[str, Any]:
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": pod_spec}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
        }

    return build


@pytest.fixture
def pod(pod_spec: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    def build(name: str = "web-1", **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}},
            "spec": {**pod_spec, **spec},
        }

    return build
