"""Rights: enforced for every verb in the words of RBAC, and explained to who asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from api_served import DEPLOYMENTS, MAPS, PODS, Api, config_map, hotel

from aiopslab.errors import LimitExceeded
from aiopslab.models.task import Task
from aiopslab.wire.gate import Call, Turn
from aiopslab.wire.identity import Identity, Rule, on_call
from aiopslab.wire.kubernetes.app import kubernetes_app

ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
PODS_ONLY = Identity("guest", rules=(Rule(("get", "list"), ("",), ("pods",), "hotel"),))


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    api = Api(hotel(seconds=5.0))
    yield api
    api.close()


def asked_by(api: Api, who: Identity) -> Api:
    return Api(api.sim, who)


def of_task(api: Api, task: Task) -> Api:
    return asked_by(api, on_call("oncall", task, "hotel"))


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", DEPLOYMENTS,
         'deployments.apps is forbidden: User "guest" cannot list resource "deployments" in API '
         'group "apps" in the namespace "hotel"'),
        ("GET", "/api/v1/pods",
         'pods is forbidden: User "guest" cannot list resource "pods" in API group "" at the '
         "cluster scope"),
        ("GET", "/api/v1/nodes/node-a",
         'nodes "node-a" is forbidden: User "guest" cannot get resource "nodes" in API group "" '
         "at the cluster scope"),
        ("GET", "/api/v1/namespaces/hotel",
         'namespaces "hotel" is forbidden: User "guest" cannot get resource "namespaces" in API '
         'group "" in the namespace "hotel"'),
        ("GET", f"{PODS}?watch=1",
         'pods is forbidden: User "guest" cannot watch resource "pods" in API group "" in the '
         'namespace "hotel"'),
        ("DELETE", PODS,
         'pods is forbidden: User "guest" cannot deletecollection resource "pods" in API group "" '
         'in the namespace "hotel"'),
        ("POST", f"{PODS}/x/eviction",
         'pods "x" is forbidden: User "guest" cannot create resource "pods/eviction" in API group '
         '"" in the namespace "hotel"'),
        ("GET", f"{PODS}/x/log",
         'pods "x" is forbidden: User "guest" cannot get resource "pods/log" in API group "" in '
         'the namespace "hotel"'),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_refused_in_the_words_of_rbac(
    api: Api, method: str, path: str, message: str
) -> None:
    status = asked_by(api, PODS_ONLY).refused(403, method, path)
    assert status["message"] == message
    assert status["reason"] == "Forbidden"


def test_what_is_allowed_passes(api: Api) -> None:
    assert asked_by(api, PODS_ONLY).get(PODS)["items"]


def test_a_reader_may_not_write(api: Api) -> None:
    reader = of_task(api, "diagnosis")
    assert reader.get(DEPLOYMENTS)["items"]
    for method, path in [
        ("POST", MAPS), ("PUT", f"{MAPS}/x"), ("PATCH", f"{DEPLOYMENTS}/geo"),
        ("PATCH", f"{DEPLOYMENTS}/geo/scale"), ("DELETE", f"{DEPLOYMENTS}/geo"),
    ]:  # fmt: skip
        status = reader.refused(403, method, path, config_map("x"))
        assert 'User "oncall" cannot' in status["message"]


def test_who_mitigates_may_write_in_one_namespace(api: Api) -> None:
    mender = of_task(api, "mitigation")
    assert mender.ask("POST", MAPS, config_map("mended")).status_code == 201
    assert mender.ask("DELETE", f"{MAPS}/mended").status_code == 200
    elsewhere = MAPS.replace("hotel", "kube-system")
    mender.refused(403, "POST", elsewhere, config_map("x", namespace="kube-system"))
    mender.refused(403, "DELETE", "/api/v1/namespaces/hotel")
    mender.refused(403, "PATCH", "/api/v1/nodes/node-a", {})


def access(api: Api, verb: str, resource: str, group: str = "", **more: str) -> bool:
    asked = {"verb": verb, "resource": resource, "group": group, "namespace": "hotel", **more}
    answer = api.ask("POST", ACCESS, {"spec": {"resourceAttributes": asked}})
    assert answer.status_code == 201
    allowed: bool = answer.json()["status"]["allowed"]
    return allowed


def test_an_access_review_agrees_with_what_is_enforced(api: Api) -> None:
    reader, mender = of_task(api, "diagnosis"), of_task(api, "mitigation")
    assert access(reader, "list", "deployments", "apps")
    assert not access(reader, "patch", "deployments", "apps")
    assert access(mender, "patch", "deployments", "apps")
    assert access(mender, "patch", "deployments", "apps", subresource="scale")
    assert not access(mender, "patch", "deployments", "apps", namespace="kube-system")
    assert access(reader, "create", "pods", subresource="exec")
    assert not access(asked_by(api, PODS_ONLY), "*", "*", "*")
    assert access(api, "*", "*", "*")


def test_urls_outside_resources_are_reviewed_too(api: Api) -> None:
    guest = asked_by(api, PODS_ONLY)

    def allowed(path: str, verb: str = "get") -> Any:
        body = {"spec": {"nonResourceAttributes": {"path": path, "verb": verb}}}
        return guest.ask("POST", ACCESS, body).json()["status"]["allowed"]

    assert allowed("/healthz")
    assert allowed("/apis/apps/v1")
    assert not allowed("/logs")
    assert not allowed("/healthz", "post")


def test_the_rules_of_a_namespace_are_listed(api: Api) -> None:
    mender = of_task(api, "mitigation")
    here = mender.ask("POST", RULES, {"spec": {"namespace": "hotel"}}).json()["status"]
    there = mender.ask("POST", RULES, {"spec": {"namespace": "default"}}).json()["status"]
    assert here["incomplete"] is False
    assert any("patch" in rule["verbs"] for rule in here["resourceRules"])
    assert not any("patch" in rule["verbs"] for rule in there["resourceRules"])
    assert any("/healthz" in rule["nonResourceURLs"] for rule in here["nonResourceRules"])


def test_one_may_ask_who_one_is(api: Api) -> None:
    answer = asked_by(api, PODS_ONLY).ask("POST", SELF, {}).json()
    assert answer["kind"] == "SelfSubjectReview"
    info = answer["status"]["userInfo"]
    assert info == {"username": "guest", "groups": ["system:authenticated"]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (ACCESS, {"spec": {}}),
        (ACCESS, {"spec": "x"}),
        (ACCESS, [1]),
        (RULES, {"spec": {}}),
        (ACCESS, b"\xff"),
    ],
)
def test_a_review_without_a_question_is_refused(api: Api, path: str, body: Any) -> None:
    api.refused(400, "POST", path, body)


def test_reviews_take_no_turn(api: Api) -> None:
    api.calls.clear()
    assert access(api, "get", "pods")
    assert api.calls == []


@pytest.mark.parametrize(
    "path",
    [
        f"{DEPLOYMENTS}/geo?watch=true",
        f"{DEPLOYMENTS}/geo/scale?watch=1",
        f"{MAPS}/log?follow=true",
        "/apis/metrics.k8s.io/v1beta1/nodes?watch=true",
        f"{PODS}/geo-postgres-0/log?watch=true",
        f"{PODS}/geo-postgres-0/log?follow=true&follow=",
        f"{DEPLOYMENTS}?watch=true&watch=",
    ],
)
def test_nothing_is_read_without_a_turn(api: Api, path: str) -> None:
    api.calls.clear()
    api.ask("GET", path)
    assert len(api.calls) == 1


@pytest.mark.parametrize(
    ("query", "effect"),
    [("dryRun=All", "read"), ("x=dryRun=All", "write"), ("dryRun=All&dryRun=None", "write"),
     ("", "write")],
)  # fmt: skip
def test_only_a_true_dry_run_counts_as_a_read(api: Api, query: str, effect: str) -> None:
    api.calls.clear()
    api.ask("POST", f"{MAPS}?{query}", {"metadata": {}})
    assert [c.effect for c in api.calls] == [effect]


class SpentGate:
    """The gate of a trial whose budget is used up."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()

    @asynccontextmanager
    async def turn(self, call: Call) -> AsyncIterator[Turn]:
        raise LimitExceeded("steps", "30 of 30 steps are used up")
        yield Turn()

    async def moved(self) -> None:
        raise LimitExceeded("steps", "30 of 30 steps are used up")


@pytest.mark.parametrize("query", ["", "?watch=true"])
def test_a_used_up_budget_is_said_once_and_not_to_be_tried_again(api: Api, query: str) -> None:
    async def ask() -> httpx2.Response:
        app = kubernetes_app(api.sim.world, SpentGate(), env=api.sim)
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(DEPLOYMENTS + query)

    answer = asyncio.run(ask())
    assert answer.status_code == 429
    assert answer.json()["reason"] == "TooManyRequests"
    assert "30 of 30 steps" in answer.json()["message"]
    assert "retry-after" not in answer.headers
