"""The environment of a trial at its ends: cancelled half-way, left by a crash, used by agents."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_issuing import issuing
from cluster_world import TRIAL, Lab, laboratory

from aiopslab.environments.cluster.agent import AgentsView
from aiopslab.environments.cluster.cleaning import inventory
from aiopslab.environments.cluster.lab import namespace_objects
from aiopslab.environments.cluster.labels import ours
from aiopslab.errors import InfraError
from aiopslab.models.kube import KubeError
from aiopslab.tools.context import ToolContext
from aiopslab.tools.toolbox import Toolbox

SPACE, OURS = f"hotel-{TRIAL}", f"lab-{TRIAL}"


class Stopping:
    """Cancels a deployment once so many objects were created."""

    def __init__(self) -> None:
        self.after = -1
        self.task: asyncio.Task[None] | None = None

    def around(self, api: Any, _tokens: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await api(scope, receive, send)
            if scope.get("method") == "POST" and self.task is not None:
                self.after -= 1
                if self.after == 0:
                    self.task.cancel()

        return app


stopping = Stopping()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    def around(sim: Any) -> Any:
        granted = issuing(sim, late=0)
        return lambda api, tokens: stopping.around(granted(api, tokens), tokens)

    with laboratory(tmp_path_factory.mktemp("served"), around) as found:
        yield found


def left(lab: Lab) -> list[str]:
    found = lab.run(inventory(lab.env.quiet, ours(TRIAL)))
    return [str(obj) for obj in found.objects]


@pytest.mark.parametrize("after", [1, 6, 30, 70])
def test_a_deployment_that_is_cancelled_anywhere_leaves_nothing(lab: Lab, after: int) -> None:
    async def scenario() -> None:
        stopping.after, stopping.task = after, asyncio.create_task(lab.env.deploy())
        with pytest.raises(asyncio.CancelledError):
            await stopping.task
        stopping.task = None
        await lab.env.aclose()
        await lab.env.aclose()

    lab.run(scenario())
    assert left(lab) == []
    assert not lab.exists("Namespace", SPACE)


def test_what_a_crashed_lab_left_is_removed_by_the_next(lab: Lab) -> None:
    async def scenario() -> None:
        stopping.after, stopping.task = 40, asyncio.create_task(lab.env.deploy())
        with pytest.raises(asyncio.CancelledError):
            await stopping.task
        stopping.task = None

    lab.run(scenario())
    assert left(lab)
    lab.run(lab.environment().aclose())
    assert left(lab) == []


def test_what_does_not_go_in_time_is_named(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    space, _ = namespace_objects(lab.placement)
    kept = {**space, "metadata": {**space["metadata"], "finalizers": ["example.com/kept"]}}
    impatient = lab.environment(patience=type(lab.env.terms.patience)(clean_s=0.5))
    lab.run(lab.env.quiet.create(kept, actor="lab"))
    with pytest.raises(InfraError, match=f"left after 0 s: namespaces/{OURS}"):
        lab.run(impatient.aclose())
    free = {"metadata": {"finalizers": None}}
    lab.run(lab.env.quiet.patch("Namespace", OURS, free, type="merge", actor="lab"))
    lab.run(lab.env.aclose())
    assert left(lab) == []


def test_a_refused_object_is_named(lab: Lab) -> None:
    space, _ = namespace_objects(lab.placement)
    lab.run(lab.env.quiet.create(space, actor="lab"))
    with pytest.raises(InfraError, match=rf"deploy: Namespace {OURS}: .*already exists"):
        lab.run(lab.env.deploy())
    lab.run(lab.env.aclose())


# -- agents ----------------------------------------------------------------------------------------


@pytest.fixture
def spaces(lab: Lab) -> Iterator[Lab]:
    """Only the namespaces, with one object each."""

    async def make() -> None:
        for obj in namespace_objects(lab.placement):
            await lab.env.quiet.create(obj, actor="lab")
        app = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
        await lab.env.kube.create(app, actor="ci")
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "geo-config"}}
        made["metadata"] = {"name": "geo-config", "namespace": SPACE}
        await lab.env.kube.create(made, actor="ci")

    lab.run(make())
    yield lab
    lab.run(lab.env.aclose())
    assert left(lab) == []


async def called(lab: Lab, env: Any, task: Any, tool: str, **arguments: Any) -> str:
    async def spend(_seconds: float) -> None:
        await asyncio.sleep(0)

    toolbox = Toolbox(ToolContext(env, task), spend=spend, record=lambda _: None)
    return (await toolbox.call(tool, arguments)).text


def test_tools_act_with_the_rights_of_the_agent_and_the_lab_with_its_own(spaces: Lab) -> None:
    lab = spaces
    patch = {"kind": "ConfigMap", "name": "geo-config", "patch": '{"data": {"a": "1"}}'}

    async def scenario() -> None:
        reader = await lab.env.for_agent("diagnosis")
        assert (await reader.kube.get("ConfigMap", "geo-config", SPACE))["kind"] == "ConfigMap"
        with pytest.raises(KubeError, match="forbidden"):
            await reader.kube.list("Pod", OURS)
        with pytest.raises(KubeError, match="forbidden"):
            await reader.kube.delete("ConfigMap", "geo-config", SPACE, actor="oncall")
        writer = await lab.env.for_agent("mitigation")
        text = await called(lab, writer, "mitigation", "k8s_patch", **patch)
        assert "geo-config" in text
        assert (await lab.env.kube.get("ConfigMap", "geo-config", SPACE))["data"] == {"a": "1"}
        assert isinstance(writer, AgentsView)
        assert await lab.env.kube.list("ResourceQuota", OURS)

    lab.run(scenario())


def test_the_tools_of_a_reading_task_are_refused_in_kubectls_words(spaces: Lab) -> None:
    lab = spaces

    async def scenario() -> str:
        env = await lab.env.for_agent("localization")
        return await called(lab, env, "localization", "k8s_get", kind="pods", namespace=OURS)

    assert "forbidden" in lab.run(scenario()).lower()


def test_an_agents_view_tells_the_same_as_the_environment(spaces: Lab) -> None:
    async def scenario() -> None:
        env = await spaces.env.for_agent("detection")
        assert (env.app, env.namespace) == (spaces.env.app, SPACE)
        assert env.telemetry is spaces.env.telemetry
        assert abs(env.now() - spaces.env.now()) < 60.0
        await env.aclose()
        assert await env.kube.list("ConfigMap", SPACE)

    spaces.run(scenario())


def test_what_is_abandoned_keeps_no_agents_connection(spaces: Lab) -> None:
    async def scenario() -> None:
        env = await spaces.env.for_agent("detection")
        await spaces.env.abandon()
        with pytest.raises(RuntimeError, match="after shutdown"):
            await env.kube.list("ConfigMap", SPACE)

    spaces.run(scenario())
