"""Admission webhooks: who is asked, what an answer does, and what becomes of none."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from aiopslab.models.kube import KubeError
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.webhooks import Reviewer, Unreachable

Build = Callable[..., dict[str, Any]]
CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"


def configuration(kind: str = "ValidatingWebhookConfiguration", **more: Any) -> dict[str, Any]:
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
    }
    hook = {
        "name": "pods.policy.example",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"service": {"namespace": "shop", "name": "policy", "path": "/pods"}},
        "rules": [rule],
        **more,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "policy"},
        "webhooks": [hook],
    }


class Asked:
    """A webhook's program that remembers what it was asked."""

    def __init__(self, **response: Any) -> None:
        self.response = {"allowed": True, **response}
        self.requests: list[dict[str, Any]] = []

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        return self.response

    def dial(self, namespace: str, service: str, port: int) -> Reviewer:
        assert (namespace, service, port) == ("shop", "policy", 443)
        return self


def nobody(namespace: str, service: str, port: int) -> Reviewer:
    raise Unreachable(f'no endpoints available for service "{service}"')


def refusal(api: ApiServer, obj: dict[str, Any]) -> KubeError:
    with pytest.raises(KubeError) as caught:
        api.create(obj, actor=CONTROLLER)
    return caught.value


def test_the_program_is_asked_about_the_object_as_it_will_be_stored(
    api: ApiServer, pod: Build
) -> None:
    program = Asked()
    api.webhooks.dial = program.dial
    api.create(configuration(), actor="alice")
    api.create(pod(), actor=CONTROLLER)
    (request,) = program.requests
    assert (request["operation"], request["namespace"]) == ("CREATE", "shop")
    assert request["object"]["spec"]["restartPolicy"] == "Always"


def test_a_denial_is_worded_by_the_program(api: ApiServer, pod: Build) -> None:
    api.webhooks.dial = Asked(allowed=False, status={"message": "no latest tags"}).dial
    api.create(configuration(), actor="alice")
    error = refusal(api, pod())
    assert error.code == 403
    assert error.message == (
        'admission webhook "pods.policy.example" denied the request: no latest tags'
    )


def test_where_nobody_answers_nothing_is_created(api: ApiServer, pod: Build) -> None:
    api.webhooks.dial = nobody
    api.create(configuration(timeoutSeconds=5), actor="alice")
    error = refusal(api, pod())
    assert error.code == 500
    assert error.message == (
        'Internal error occurred: failed calling webhook "pods.policy.example": failed to call '
        'webhook: Post "https://policy.shop.svc:443/pods?timeout=5s": no endpoints available for '
        'service "policy"'
    )
    assert api.list("Pod", "shop") == []


def test_a_webhook_whose_failure_is_ignored_keeps_nobody(api: ApiServer, pod: Build) -> None:
    api.webhooks.dial = nobody
    api.create(configuration(failurePolicy="Ignore"), actor="alice")
    api.create(pod(), actor=CONTROLLER)


@pytest.mark.parametrize(
    "passed_by",
    [
        {"objectSelector": {"matchLabels": {"app": "other"}}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
        {"rules": [{"operations": ["UPDATE"], "apiGroups": ["*"], "apiVersions": ["*"],
                    "resources": ["*"]}]},
        {"rules": [{"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["*"],
                    "resources": ["*"]}]},
    ],
)  # fmt: skip
def test_what_a_webhook_does_not_concern_is_created_without_it(
    api: ApiServer, pod: Build, passed_by: dict[str, Any]
) -> None:
    api.webhooks.dial = nobody
    api.create(configuration(**passed_by), actor="alice")
    api.create(pod(), actor=CONTROLLER)


def test_a_mutating_webhook_changes_what_is_stored(api: ApiServer, pod: Build) -> None:
    path = "/spec/containers/0/resources/requests/cpu"
    operations = [{"op": "replace", "path": path, "value": "10m"}]
    patch = base64.b64encode(json.dumps(operations).encode()).decode()
    api.webhooks.dial = Asked(patchType="JSONPatch", patch=patch).dial
    api.create(configuration("MutatingWebhookConfiguration"), actor="alice")
    stored = api.create(pod(), actor=CONTROLLER)
    assert stored["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "10m"


def test_a_configuration_can_always_be_replaced(api: ApiServer) -> None:
    api.webhooks.dial = nobody
    every = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
    api.create(configuration(rules=[every]), actor="alice")
    api.create(configuration("MutatingWebhookConfiguration"), actor="alice")
    api.delete("ValidatingWebhookConfiguration", "policy", actor="alice")


def test_what_was_left_out_gets_the_servers_defaults(api: ApiServer) -> None:
    stored = api.create(configuration(), actor="alice")
    hook = stored["webhooks"][0]
    assert (hook["failurePolicy"], hook["timeoutSeconds"]) == ("Fail", 10)
    assert hook["clientConfig"]["service"]["port"] == 443
