"""Language models in real runs: processes, budgets, records, outcomes; the world is in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agents_server import Said, Script, completions, failure, message, tool_call

from aiopslab.models.run import RunConfig
from aiopslab.models.trial import Trial
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.run import RunReport, run_sync

pytest.importorskip("langchain_openai")

LABS = Path(__file__).parents[1] / "orchestrator"
ANSWER = message("Sure.", tool_call("submit", {"summary": "scaled", "confidence": 0.9}, "s"))
REPAIR = message(
    "Look, then scale.",
    tool_call("alerts", {}, "a"),
    tool_call("k8s_scale", {"name": "web", "replicas": 2}, "b"),
    tool_call("wait", {"seconds": 60}, "c"),
)


@pytest.fixture(autouse=True)
def _labs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(LABS))


def played(folder: Path, script: Script, **fields: Any) -> tuple[RunReport, Trial]:
    """Run one mitigation with a scripted model; return the report and its trial."""
    with completions(script) as (url, _):
        report = run_sync(
            RunConfig.model_validate(
                {
                    "targets": ["one"], "tasks": ["mitigation"], "model": "openai/gpt-4o",
                    "base_url": url, "environment": {"kind": "orchestrator_fakes:FakeLab"},
                    "runs_dir": str(folder), "name": "run", "concurrency": 1, "retry_infra": 0,
                    **fields,
                }
            )
        )  # fmt: skip
    [plan] = report.record.trials
    return report, RunDirectory(report.directory).trial(plan).trial()


@pytest.mark.parametrize(
    ("agent", "arguments"), [("react", {}), ("openai-tools", {"stream": "true"})]
)
def test_a_model_repairs_an_incident_and_its_cost_is_in_the_record(
    tmp_path: Path, agent: str, arguments: dict[str, str]
) -> None:
    script = [failure(429, "slow down"), REPAIR, ANSWER]
    report, trial = played(
        tmp_path, script, agent=agent, agent_args=arguments, limits={"cost_usd": 1.0}
    )
    assert (trial.outcome, trial.termination) == ("passed", "submitted")
    assert (trial.usage.tokens_in, trial.usage.tokens_out) == (200, 14)
    assert trial.usage.cost_usd == pytest.approx((200 * 2.5 + 14 * 10) / 1e6)
    assert report.results.cost_usd == trial.usage.cost_usd


def test_an_endpoint_that_fails_in_the_middle_is_not_graded(tmp_path: Path) -> None:
    script = [REPAIR, failure(429, "slow down")]
    report, trial = played(tmp_path, script, agent="openai-tools", agent_args={"retries": "1"})
    assert trial.outcome == "infra_error"
    assert "slow down" in (trial.error or "")
    assert report.results.overall.n_completed == 0


def test_a_budget_of_dollars_that_is_used_up_is_a_limit(tmp_path: Path) -> None:
    dear = Said(REPAIR, usage={"prompt_tokens": 10**6, "completion_tokens": 1, "total_tokens": 1})
    _, trial = played(tmp_path, [dear], agent="openai-tools", limits={"cost_usd": 1.0})
    assert (trial.outcome, trial.termination) == ("limit", "limit:cost")


def test_a_model_without_a_price_has_no_cost(tmp_path: Path) -> None:
    report, trial = played(tmp_path, [REPAIR, ANSWER], agent="openai-tools", model="mine")
    assert trial.outcome == "passed"
    assert trial.usage.tokens_in == 200
    assert trial.usage.cost_usd is None
    assert report.results.cost_usd is None


@pytest.mark.parametrize("agent", ["react", "openai-tools"])
def test_a_model_that_declines_past_its_budget_has_used_it_up(tmp_path: Path, agent: str) -> None:
    declined = Said(message(refusal="I cannot."))
    _, trial = played(tmp_path, [declined], agent=agent, limits={"tokens": 100})
    assert (trial.outcome, trial.termination) == ("limit", "limit:tokens")
    assert trial.usage.tokens_in == 100


def test_text_in_parts_is_a_thought_of_the_record(tmp_path: Path) -> None:
    parts = {**ANSWER, "content": [{"type": "text", "text": "Sure \ud83d"}]}
    _, trial = played(tmp_path, [REPAIR, parts], agent="openai-tools")
    assert trial.outcome == "passed"


@pytest.mark.parametrize("agent", ["react", "openai-tools"])
def test_what_a_model_says_last_is_in_the_record(tmp_path: Path, agent: str) -> None:
    report, trial = played(tmp_path, [message(refusal="I cannot.")], agent=agent)
    assert (trial.outcome, trial.termination) == ("failed", "stopped without submitting")
    [plan] = report.record.trials
    kept = RunDirectory(report.directory).trial(plan).path / "agent" / "last_words.txt"
    assert kept.read_text("utf-8").splitlines() == ["the model declines: I cannot."] * 2
