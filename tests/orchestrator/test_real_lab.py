"""The labs on real clusters, as far as no cluster is asked: options, what is played, the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from aiopslab.errors import InfraError, UsageError
from aiopslab.models.run import EnvironmentChoice, RunConfig
from aiopslab.orchestrator.agreement import _one_cluster
from aiopslab.orchestrator.lab import find_lab
from aiopslab.orchestrator.real_lab import KindLab, KubeconfigLab, contexts_of, read_options
from aiopslab.orchestrator.run import run_sync
from aiopslab.problems import catalogue
from aiopslab.problems.playable import playable


def test_options_are_known_by_the_names_that_are_typed() -> None:
    options = read_options("kind", {"storage-class": "fast", "cpu-share": "0.25", "warm": "false"})
    assert (options.storage_class, options.cpu_share, options.warm) == ("fast", 0.25, False)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"contxt": "lab"}, "has no option 'contxt'"),
        ({"cpu-share": "2"}, "-E cpu-share=2: Input should be less than or equal to 1"),
        ({"warm": "perhaps"}, "-E warm=perhaps"),
        ({"context": "a,,b"}, "-E context=a,,b: a name is missing before or after a comma"),
        ({"context": "a,b,a"}, "-E context=a,b,a: 'a' is there twice"),
        ({"name": ""}, "-E name="),
    ],
)
def test_an_option_that_is_wrong_is_named_with_its_value(given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_options("kubeconfig", given)
    assert said in str(refused.value)


def test_kind_means_its_own_context_and_kubeconfig_the_current_one() -> None:
    assert contexts_of("kind", read_options("kind", {})) == ("kind-aiopslab",)
    assert contexts_of("kind", read_options("kind", {"name": "two"})) == ("kind-two",)
    assert contexts_of("kubeconfig", read_options("kubeconfig", {})) == ("",)
    assert contexts_of("kubeconfig", read_options("kubeconfig", {"context": "lab"})) == ("lab",)


def test_several_clusters_are_named_with_commas() -> None:
    named = read_options("kind", {"name": "a, b"})
    assert contexts_of("kind", named) == ("kind-a", "kind-b")
    given = {"context": "kind-a,elsewhere"}
    assert contexts_of("kubeconfig", read_options("kubeconfig", given)) == ("kind-a", "elsewhere")


def test_of_a_suite_a_cluster_plays_what_exists_there() -> None:
    label, problems = KindLab({}).expand(["lite"], ["detection"])
    _, everything = catalogue.expand(["lite"], ["detection"])
    wanted = [p for p in everything if playable(catalogue.load_incident(p.incident), "kind")]
    assert label.startswith("lite")
    assert problems == wanted
    assert 0 < len(problems) < len(everything)


def test_an_incident_that_a_cluster_lacks_is_refused_with_what_it_needs() -> None:
    with pytest.raises(UsageError, match="node-clock-ahead needs node/clock"):
        KubeconfigLab({}).expand(["node-clock-ahead"], ["detection"])


def test_time_of_a_real_cluster_is_real() -> None:
    real = {"kind": "kind"}
    assert RunConfig.model_validate({"targets": ["x"], "environment": real}).clock == "wall:1"
    assert RunConfig(targets=["x"]).clock == "stepped"
    with pytest.raises(ValidationError, match="'stepped' is not for environment 'kind'"):
        RunConfig.model_validate({"targets": ["x"], "environment": real, "clock": "stepped"})


def test_the_labs_are_found_by_the_names_of_their_environments() -> None:
    for kind in ("kind", "kubeconfig"):
        config = RunConfig.model_validate({"targets": ["x"], "environment": {"kind": kind}})
        lab = find_lab(config.environment)
        assert not lab.forkable


# -- several clusters -----------------------------------------------------------------------------


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    """The contexts of two labs and of something that must not be touched."""
    names = ("kind-a", "kind-b", "shop-prod", "team-lab")
    content = {
        "current-context": "kind-b",
        "contexts": [{"name": n, "context": {"cluster": n, "user": "me"}} for n in names],
        "clusters": [{"name": n, "cluster": {"server": f"https://{n}:6443"}} for n in names],
        "users": [{"name": "me", "user": {}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(tmp_path / "config")


def test_the_seats_of_a_run_take_turns_at_its_clusters(kubeconfig: str) -> None:
    labs = [KindLab({"name": "a,b", "kubeconfig": kubeconfig}) for _ in range(4)]
    for seat, lab in enumerate(labs):
        lab.seat = seat
    assert [lab.cluster for lab in labs] == ["kind-a", "kind-b", "kind-a", "kind-b"]
    assert labs[0].clusters() == ["kind-a", "kind-b"]


def test_the_current_context_is_found_by_its_name(kubeconfig: str) -> None:
    assert KubeconfigLab({"kubeconfig": kubeconfig}).clusters() == ["kind-b"]


@pytest.mark.parametrize(
    ("context", "pinned"), [("kind-a", False), ("", False), ("team-lab", True)]
)
def test_stores_images_are_pinned_where_nodes_pull_them(
    kubeconfig: str, context: str, *, pinned: bool
) -> None:
    lab = KubeconfigLab({"kubeconfig": kubeconfig, "context": context})
    assert lab._placement("x7k2p").images.pinned is pinned


@pytest.mark.parametrize(
    ("contexts", "said"),
    [
        ("kind-a,kind-c", "there is no context 'kind-c'"),
        ("kind-a,shop-prod", "'shop-prod' looks like production"),
    ],
)
def test_one_context_that_must_not_be_used_is_enough_to_refuse_before_anything_is_made(
    kubeconfig: str, tmp_path: Path, contexts: str, said: str
) -> None:
    options = {"context": contexts, "kubeconfig": kubeconfig}
    runs = tmp_path / "runs"
    config = RunConfig.model_validate({
        "targets": ["lite"], "agent": "noop", "runs_dir": str(runs),
        "environment": {"kind": "kubeconfig", "options": options},
    })  # fmt: skip
    for refuse in (lambda: KubeconfigLab(options).preview(config), lambda: run_sync(config)):
        with pytest.raises(UsageError, match=said):
            refuse()
    assert not runs.exists()


def test_a_context_that_is_refused_is_answered_with_what_a_run_is_given(kubeconfig: str) -> None:
    for context, hint in (
        ("shop-prod", "-E context=kind-a, or -E allow-production=true if it is meant"),
        ("nothing-like-it", "-E context=kind-a | kind-b | shop-prod | team-lab"),
    ):
        lab = KubeconfigLab({"context": context, "kubeconfig": kubeconfig})
        with pytest.raises(UsageError) as refused:
            lab.clusters()
        assert refused.value.hint == hint


def test_every_context_is_shown_before_a_run(kubeconfig: str) -> None:
    options = {"name": "a,b", "kubeconfig": kubeconfig}
    config = RunConfig.model_validate(
        {"targets": ["resources-cpu-limit"], "environment": {"kind": "kind", "options": options}}
    )
    lines = KindLab(options).preview(config)
    assert lines[:2] == [
        "context kind-a, https://kind-a:6443",
        "context kind-b, https://kind-b:6443",
    ]
    assert all(line.startswith("will create for hotel") for line in lines[2:])


class Sweeping(KindLab):
    """A lab on two clusters, of which the first does not answer."""

    def __init__(self, kubeconfig: str) -> None:
        super().__init__({"name": "a,b", "kubeconfig": kubeconfig})
        self.asked: list[str] = []
        self.left: list[Any] = []

    async def _cleaned(self, context: str) -> Sequence[Any]:
        self.asked.append(context)
        if context == "kind-a":
            raise InfraError("kubernetes", "no answer")
        return self.left


def test_a_sweep_goes_everywhere_and_tells_where_it_could_not(kubeconfig: str) -> None:
    lab = Sweeping(kubeconfig)
    with pytest.raises(InfraError) as failed:
        asyncio.run(lab.sweep())
    assert lab.asked == ["kind-a", "kind-b"]
    assert failed.value.message == "kind-a: kubernetes: no answer"


def test_a_sweep_looks_once_no_request_of_its_own_is_under_way_any_more(kubeconfig: str) -> None:
    class Closing(Sweeping):
        async def aclose(self) -> None:
            self.asked.append("closed")
            raise InfraError("clean", "no answer")

    lab = Closing(kubeconfig)
    with pytest.raises(InfraError, match="kind-a: kubernetes: no answer"):
        asyncio.run(lab.sweep())
    assert lab.asked == ["closed", "kind-a", "kind-b"]


def test_what_a_sweep_leaves_is_told_with_its_cluster(kubeconfig: str) -> None:
    lab = Sweeping(kubeconfig)
    lab.left = ["namespaces/hotel-x"]
    with pytest.raises(InfraError, match="kind-b: still there: namespaces/hotel-x"):
        asyncio.run(lab.sweep())


def test_agreement_is_that_of_the_first_cluster() -> None:
    options = {"name": "a,b", "registry": "r/x,y/"}
    choice = EnvironmentChoice(kind="kind", options=options)
    assert _one_cluster(choice).options == {"name": "a", "registry": "r/x,y/"}


# -- why an incident was not staged ----------------------------------------------------------------


class _Pods:
    """A namespace with one pod, whose container waits for a reason or runs."""

    def __init__(self, reason: str) -> None:
        state = {"waiting": {"reason": reason}} if reason else {"running": {}}
        self._pod = {
            "metadata": {"name": "job-1"},
            "status": {"containerStatuses": [{"name": "c", "image": "tool:1", "state": state}]},
        }

    async def list(self, kind: str, namespace: str) -> list[Any]:
        return [self._pod]


class _Namespace:
    class app:
        namespace = "hotel-x"

    def __init__(self, reason: str) -> None:
        self.kube = _Pods(reason)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("ImagePullBackOff", "symptom: not seen; not pulled: tool:1"),
        ("CrashLoopBackOff", "symptom: not seen"),
        ("", "symptom: not seen"),
    ],
)
def test_an_incident_that_does_not_begin_is_told_with_the_images_that_are_missing(
    reason: str, said: str
) -> None:
    async def unseen() -> None:
        raise InfraError("symptom", "not seen")

    env: Any = _Namespace(reason)
    with pytest.raises(InfraError) as failed:
        asyncio.run(KindLab({}).accompany(env, unseen()))
    assert str(failed.value) == said
