"""The labs on real clusters, as far as no cluster is asked: options, what is played, the clock."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from aiopslab.errors import UsageError
from aiopslab.models.run import RunConfig
from aiopslab.orchestrator.lab import find_lab
from aiopslab.orchestrator.real_lab import KindLab, KubeconfigLab, context_of, read_options
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
    ],
)
def test_an_option_that_is_wrong_is_named_with_its_value(given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_options("kubeconfig", given)
    assert said in str(refused.value)


def test_kind_means_its_own_context_and_kubeconfig_the_current_one() -> None:
    assert context_of("kind", read_options("kind", {})) == "kind-aiopslab"
    assert context_of("kind", read_options("kind", {"name": "two"})) == "kind-two"
    assert context_of("kubeconfig", read_options("kubeconfig", {})) == ""
    assert context_of("kubeconfig", read_options("kubeconfig", {"context": "lab"})) == "lab"


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
