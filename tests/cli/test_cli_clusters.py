"""Commands on clusters, of which there may be several: which are asked, what is told of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from aiopslab.cli import cluster_command, on_cluster
from aiopslab.environments import host_checks, kind_cluster
from aiopslab.environments.cluster.cleaning import Cleaned, Found, Inventory
from aiopslab.errors import InfraError
from aiopslab.models.run import RunConfig, RunRecord
from aiopslab.orchestrator.records import RunDirectory

NAMES = ("kind-a", "kind-b", "kind-aiopslab", "shop-prod")


def thing(name: str) -> Found:
    """A namespace of ours."""
    served: Any = SimpleNamespace(kind=SimpleNamespace(resource="namespaces"))
    return Found(served, "", name, f"uid-{name}", "", going=False, trial="t1")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The contexts that are asked; each has a namespace of its own, ``kind-b`` a kind unseen."""
    content = {
        "contexts": [{"name": n, "context": {"cluster": n}} for n in NAMES],
        "clusters": [{"name": n, "cluster": {"server": f"https://{n}"}} for n in NAMES],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(path))
    seen: list[str] = []

    async def answer(kubeconfig: str, context: str, question: Any) -> Any:
        seen.append(context)
        found = Inventory((thing(f"on-{context}"),), {"pods": "no"} if context == "kind-b" else {})
        one = await question(None)
        return found if one == "inventory" else Cleaned(found.objects, Inventory((), found.unseen))

    async def inventory(*_: Any) -> str:
        return "inventory"

    async def clean(*_: Any) -> str:
        return "clean"

    cleaning = "aiopslab.environments.cluster.cleaning"
    monkeypatch.setattr(on_cluster, "_asked", answer)
    monkeypatch.setattr(f"{cleaning}.inventory", inventory)
    monkeypatch.setattr(f"{cleaning}.clean", clean)
    monkeypatch.setattr(f"{cleaning}.clean_trials", clean)
    return seen


def test_the_status_of_several_clusters_says_what_is_where(aiopslab, asked):
    ended = aiopslab("cluster", "status", "--name", "a,b", "--json")
    assert ended.code == 0
    assert asked == ["kind-a", "kind-b"]
    data = ended.document["data"]
    assert [(o["context"], o["object"]) for o in data["objects"]] == [
        ("kind-a", "namespaces/on-kind-a"),
        ("kind-b", "namespaces/on-kind-b"),
    ]
    assert data["unseen"] == {"kind-a": {}, "kind-b": {"pods": "no"}}
    assert (
        "pods of kind-b could not be looked at"
        in aiopslab("cluster", "status", "--context", "kind-b").err
    )


@pytest.mark.parametrize(
    ("contexts", "said"),
    [
        ("kind-a,nowhere", "there is no context 'nowhere'"),
        ("kind-a,shop-prod", "looks like production"),
        ("kind-a,", "a name is missing"),
        ("kind-a,kind-a", "'kind-a' is there twice"),
    ],
)
def test_no_cluster_is_asked_where_one_of_them_must_not_be(aiopslab, asked, contexts, said):
    for command in (("cluster", "status"), ("clean",), ("cluster", "down")):
        ended = aiopslab(*command, "--context", contexts)
        assert ended.code == 2
        assert said in ended.err
    assert asked == []


def test_what_is_cleaned_is_counted_over_all_clusters(aiopslab, asked):
    ended = aiopslab("clean", "--context", "kind-a,kind-b")
    assert (ended.code, asked) == (0, ["kind-a", "kind-b"])
    assert "2 objects removed, 0 still there" in ended.out
    assert "pods of kind-b could not be looked at: no" in ended.err


def test_a_cluster_that_is_away_keeps_nobody_from_cleaning_the_others(aiopslab, asked, monkeypatch):
    answer = on_cluster._asked

    async def answers(kubeconfig: str, context: str, question: Any) -> Any:
        if context == "kind-a":
            raise InfraError("kubernetes", "no answer")
        return await answer(kubeconfig, context, question)

    monkeypatch.setattr(on_cluster, "_asked", answers)
    ended = aiopslab("clean", "--name", "a,b")
    assert ended.code == 4
    assert "kind-a: kubernetes: no answer" in ended.err
    assert asked == ["kind-b"]


@pytest.mark.parametrize(
    ("environment", "contexts"),
    [
        ({"kind": "kind", "options": {"name": "a,b"}}, ["kind-a", "kind-b"]),
        ({"kind": "kubeconfig", "options": {"context": "kind-b"}}, ["kind-b"]),
        ({"kind": "sim"}, ["kind-aiopslab"]),
    ],
)
def test_a_run_is_cleaned_from_the_clusters_that_it_was_on(
    aiopslab, asked, tmp_path, environment, contexts
):
    run = RunDirectory(tmp_path / "runs/r")
    run.open()
    config = RunConfig.model_validate({"targets": ["lite"], "environment": environment})
    run.write(RunRecord(label="lite", status="started", config=config, trials=[]))
    assert aiopslab("clean", "--run", "runs/r").code == 0
    assert asked == contexts
    asked.clear()
    aiopslab("clean", "--run", "runs/r", "--name", "a")
    assert asked == ["kind-a"]


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What is done with kind clusters; ``b`` is there already."""
    done: list[tuple[str, ...]] = []

    def does(what: str) -> Callable[..., None]:
        return lambda name, *_, **__: done.append((what, name))

    monkeypatch.setattr(kind_cluster, "names", lambda: ["b"])
    monkeypatch.setattr(kind_cluster, "create", does("create"))
    monkeypatch.setattr(kind_cluster, "delete", does("delete"))
    monkeypatch.setattr(host_checks, "checks", list)

    def images(names: Any, apps: Any, made: Any) -> None:
        done.append(("images", *names))

    monkeypatch.setattr(cluster_command, "_images", images)
    return done


def test_several_kind_clusters_are_made_with_images_built_once(aiopslab, kind):
    ended = aiopslab("cluster", "up", "--name", "a,b")
    assert ended.code == 0
    assert kind == [("create", "a"), ("images", "a", "b")]
    assert "kind clusters 'a', 'b' are up" in ended.out
    assert "-e kind -E name=a,b" in ended.out


def test_several_kind_clusters_are_taken_down(aiopslab, kind):
    ended = aiopslab("cluster", "down", "--name", "a,b")
    assert (ended.code, kind) == (0, [("delete", "b")])
    assert "there is no kind cluster 'a'" in ended.out


def test_the_doctor_looks_at_each_context(aiopslab, asked):
    ended = aiopslab("doctor", "--context", "nowhere,shop-prod", "--json")
    assert ended.code == 3
    found = [f["detail"] for f in json.loads(ended.out)["data"] if f["what"] == "context"]
    assert len(found) == 2
    assert "no context 'nowhere'" in found[0]
    assert "looks like production" in found[1]
