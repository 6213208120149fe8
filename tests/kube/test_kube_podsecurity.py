"""Pod security admission: what a namespace enforces, and in which words it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aiopslab.models.kube import KubeError
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.podsecurity import ENFORCE, problems

Build = Callable[..., dict[str, Any]]
CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"
HARDENED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def enforce(api: ApiServer, level: str) -> None:
    patch = {"metadata": {"labels": {ENFORCE: level}}}
    api.patch("Namespace", "shop", patch, type="merge", actor="alice")


def test_the_refusal_lists_everything_that_is_missing(api: ApiServer, pod: Build) -> None:
    enforce(api, "restricted")
    with pytest.raises(KubeError) as caught:
        api.create(pod(), actor=CONTROLLER)
    assert caught.value.message == (
        'pods "web-1" is forbidden: violates PodSecurity "restricted:latest": '
        'allowPrivilegeEscalation != false (container "web" must set '
        "securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "
        '"web" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or '
        'container "web" must set securityContext.runAsNonRoot=true), seccompProfile (pod or '
        'container "web" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")'
    )


def test_running_pods_are_left_alone(api: ApiServer, pod: Build) -> None:
    api.create(pod(), actor=CONTROLLER)
    enforce(api, "restricted")
    assert len(api.list("Pod", "shop")) == 1


def test_a_hardened_pod_meets_every_standard(api: ApiServer, pod: Build) -> None:
    enforce(api, "restricted")
    spec = pod()["spec"]
    container = {**spec["containers"][0], "securityContext": HARDENED}
    api.create(pod(containers=[container]), actor=CONTROLLER)


def test_the_pod_may_speak_for_its_containers() -> None:
    own = {k: HARDENED[k] for k in ("allowPrivilegeEscalation", "capabilities")}
    shared = {k: HARDENED[k] for k in ("runAsNonRoot", "seccompProfile")}
    containers = [{"name": n, "securityContext": own} for n in ("a", "b")]
    assert problems("restricted", {"securityContext": shared, "containers": containers}) == []


def test_several_containers_are_named_together() -> None:
    spec = {"initContainers": [{"name": "a"}], "containers": [{"name": "b"}]}
    assert problems("restricted", spec)[0] == (
        'allowPrivilegeEscalation != false (containers "a", "b" must set '
        "securityContext.allowPrivilegeEscalation=false)"
    )


def test_baseline_forbids_the_host_only() -> None:
    spec = {
        "hostNetwork": True,
        "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
        "containers": [{"name": "a", "securityContext": {"privileged": True}}],
    }
    assert [p.partition(" (")[0] for p in problems("baseline", spec)] == [
        "host namespaces",
        "hostPath volumes",
        "privileged",
    ]
    assert problems("baseline", {"containers": [{"name": "a"}]}) == []


@pytest.mark.parametrize("level", ["", "privileged", "unheard-of"])
def test_other_levels_forbid_nothing(level: str) -> None:
    assert problems(level, {"hostNetwork": True, "containers": [{"name": "a"}]}) == []
