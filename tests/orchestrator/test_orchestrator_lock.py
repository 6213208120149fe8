"""What a run's lock pins of an agent: its files, and the agents and files its arguments name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator_fakes import FakeLab

from aiopslab.models.run import RunConfig
from aiopslab.orchestrator import lock
from aiopslab.orchestrator.plan import plan_trials


def agent_digest(agent: str, **arguments: Any) -> str:
    config = RunConfig(targets=["one"], agent=agent, agent_args=arguments)
    lab = FakeLab({})
    return lock.take(lab, config, plan_trials(lab, config)[1]).agent


def test_an_agent_in_an_argument_is_pinned_by_name_and_by_its_files(tmp_path: Path) -> None:
    inner = tmp_path / "inner.py"
    inner.write_text("class A: ...", encoding="utf-8")
    before = agent_digest("pace", inner=f"{inner}:A")
    assert agent_digest("pace", inner=f"{inner}:A") == before
    inner.write_text("class A: 'another'", encoding="utf-8")
    assert agent_digest("pace", inner=f"{inner}:A") != before
    built_in = {agent_digest("pace", inner=name) for name in ("noop", "always-yes", "statistical")}
    assert len(built_in) == 3
    assert agent_digest("pace") in built_in


def test_a_file_in_an_argument_is_pinned_by_its_content_wherever_it_is(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text("1", encoding="utf-8")
    second.write_text("1", encoding="utf-8")
    assert agent_digest("pace", mapping=str(first)) == agent_digest("pace", mapping=str(second))
    second.write_text("2", encoding="utf-8")
    digests = [agent_digest("pace", mapping=str(path)) for path in (first, second)]
    assert len({*digests, agent_digest("pace")}) == 3


def test_other_arguments_are_in_the_configuration_and_change_no_digest() -> None:
    assert agent_digest("pace", votes=3) == agent_digest("pace")
    assert agent_digest("statistical", repairs=1) == agent_digest("statistical")
    assert agent_digest("noop") == ""
