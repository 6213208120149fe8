"""The agent ``pace``: the inner agent's answer stays, its confidence is replaced and explained."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from agents_server import completions
from hypothesis import given
from hypothesis import strategies as st
from pace_fakes import (
    ALERTS,
    DETECTION,
    DIAGNOSIS,
    LOCALIZATION,
    MITIGATION,
    FakeMemory,
    KeepingTrial,
    Scripted,
    lines,
    module,
    past,
    plays,
    text,
)
from pydantic import TypeAdapter

from aiopslab.agents import ModelSettings, load
from aiopslab.errors import LimitExceeded, PreflightError, UsageError
from aiopslab.models.answer import Answer
from aiopslab.models.mapping import ConfidenceMapping
from aiopslab.models.observation import Observation

INNER = "pace_fakes:Scripted"
ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)
SEEN = {"alerts": (True, ALERTS, None)}


def play(trial: KeepingTrial, memory: Any = None, **arguments: Any) -> KeepingTrial:
    """Let ``pace`` play around the scripted agent."""
    made = module("agent").Pace(
        **{"inner": INNER, **arguments}, memory=memory if memory is not None else FakeMemory()
    )
    asyncio.run(made.run(trial))
    return trial


def mapping(**changed: Any) -> ConfidenceMapping:
    """A mapping that says 0.5 where RCE is 0 and little more elsewhere."""
    told = {
        "schema": "aiopslab/confidence-mapping@1", "ablation": "none", "judge": "scripted",
        "tasks": ["detection", "diagnosis"], "features": ["coe", "rce", "stated"], "n": 60,
        "form": {"kind": "grid", "axes": ["rce"], "edges": [[0.99]], "cells": [[0.42], [0.43]]},
        "n_right": 30, "folds": 5, "seed": 0, "scores": [],
        "fitted_on": {"runs": [], "labels": [], "inner": [], "environments": [], "seeds": [],
                      "scoring_versions": [], "incidents": []},
    }  # fmt: skip
    return ConfidenceMapping.model_validate(told | changed)


def written(path: Path, **changed: Any) -> str:
    (path / "m.json").write_text(mapping(**changed).model_dump_json(by_alias=True), "utf-8")
    return str(path / "m.json")


# -- passing through ------------------------------------------------------------------------------


def test_calls_pass_through_and_only_probabilities_of_the_answer_change() -> None:
    plays(DIAGNOSIS, looks=("alerts", "services"))
    trial = play(KeepingTrial("diagnosis", SEEN))
    assert [name for name, _ in trial.calls] == ["alerts", "services", "submit"]
    told = trial.submitted
    for key in ("component", "cause", "mechanism"):
        assert [h[key] for h in told["hypotheses"]] == [h[key] for h in DIAGNOSIS["hypotheses"]]
    assert told["evidence"] == ["obs-1"]
    assert told["hypotheses"][0]["probability"] == pytest.approx(
        trial.elicited.confidence, abs=1e-4
    )
    assert Scripted.heard[0].ok


@pytest.mark.parametrize(
    ("task", "answer"),
    [("detection", DETECTION), ("localization", LOCALIZATION), ("mitigation", MITIGATION)],
)
def test_every_task_gets_a_confidence(task: Any, answer: dict[str, Any]) -> None:
    plays(answer)
    trial = play(KeepingTrial(task, SEEN))
    found = trial.elicited
    assert found.source == "uncalibrated"
    assert found.coe is not None
    assert found.rce is not None
    assert found.confidence == pytest.approx(found.coe * found.rce)
    assert found.inner == INNER
    read = module("answers").read(task, trial.submitted)
    assert module("answers").stated(read) == pytest.approx(found.confidence, abs=1e-4)


def test_a_malformed_answer_goes_to_submit_as_it_is_and_its_refusal_comes_back() -> None:
    refusal, taken = (False, "confidence is missing", None), (True, "submitted", None)
    plays({"anomaly": True})
    trial = play(KeepingTrial("detection", SEEN | {"submit": [refusal, taken]}))
    assert trial.submitted == {"anomaly": True}
    assert Scripted.heard[0].text == "confidence is missing"
    assert trial.kept == {}


def test_hypotheses_that_come_as_json_text_get_a_confidence_too() -> None:
    plays(DIAGNOSIS | {"hypotheses": json.dumps(DIAGNOSIS["hypotheses"])})
    trial = play(KeepingTrial("diagnosis", SEEN))
    assert trial.elicited.source == "uncalibrated"
    assert trial.submitted["hypotheses"][0]["probability"] != 0.9


def test_an_answer_that_submit_would_refuse_is_not_judged() -> None:
    unknown = {"component": "web", "cause": "leak_of_memory", "probability": 0.9}
    plays({"hypotheses": [unknown]})
    trial = play(KeepingTrial("diagnosis", SEEN | {"submit": (False, "unknown cause", None)}))
    assert trial.kept == {}
    handle = module("sampling").Sample(trial, {})
    refused = asyncio.run(handle.call("submit", hypotheses=[unknown]))
    assert not refused.ok
    assert "unknown cause 'leak_of_memory'" in refused.text


def test_escalating_and_an_empty_list_of_candidates_stay_and_say_why() -> None:
    plays(DETECTION | {"escalate": True})
    trial = play(KeepingTrial("detection", SEEN))
    assert trial.submitted == DETECTION | {"escalate": True}
    assert (trial.elicited.source, trial.elicited.coe) == ("unchanged", None)
    plays({"candidates": []})
    trial = play(KeepingTrial("localization", SEEN))
    assert trial.submitted["candidates"] == []
    assert "certain by its form" in trial.elicited.why
    assert trial.elicited.stated == 1.0


def test_a_diagnosis_that_nothing_is_wrong_can_be_doubted() -> None:
    plays({"hypotheses": []})
    trial = play(KeepingTrial("diagnosis", SEEN))
    (only,) = trial.submitted["hypotheses"]
    assert only["cause"] == "none"
    assert 0.0 < only["probability"] < 1.0
    assert ANSWER.validate_python(trial.submitted | {"task": "diagnosis"})


def test_a_used_up_budget_passes_through() -> None:
    plays(DETECTION, looks=("alerts", "alerts", "alerts"))
    with pytest.raises(LimitExceeded):
        play(KeepingTrial("detection", SEEN, steps=2))


# -- the answer with another confidence -----------------------------------------------------------


@given(st.lists(st.floats(0.001, 1), max_size=5), st.floats(0, 1))
def test_candidates_keep_their_order_and_fit_below_the_first(
    weights: list[float], confidence: float
) -> None:
    scale = max(1.0, sum(weights) * 1.0001)
    rows = [{"component": f"c{i}", "probability": w / scale} for i, w in enumerate(weights)]
    hypotheses = [{**row, "cause": "disk_full"} for row in rows]
    answers = module("answers")
    for task, told in (
        ("localization", {"candidates": rows}),
        ("diagnosis", {"hypotheses": hypotheses}),
    ):
        answer = answers.read(task, told)
        if answers.fixed(answer):
            continue
        changed = answers.with_confidence(answer, confidence, app="shop")
        again = ANSWER.validate_python({**changed, "task": task})
        (found,) = (v for k, v in changed.items() if k in told)
        shares = [row["probability"] for row in found]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] == pytest.approx(confidence, abs=1e-4)
        assert sum(shares) <= 1.0 + 1e-6
        ranked = [r["component"] for r in sorted(rows, key=lambda r: -r["probability"])]
        assert [row["component"] for row in found] == (ranked or ["shop"])
        assert answers.claim(again).component == answers.claim(answer).component


# -- mappings -------------------------------------------------------------------------------------


def test_a_mapping_gives_the_confidence_and_is_named_by_its_digest(tmp_path: Path) -> None:
    plays(DETECTION)
    path = written(tmp_path)
    trial = play(KeepingTrial("detection", SEEN), mapping=path)
    assert trial.submitted["confidence"] == 0.42
    found = trial.elicited
    assert found.source == "mapped"
    assert found.mapping == hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_task_that_the_mapping_does_not_know_stays_uncalibrated(tmp_path: Path) -> None:
    plays(LOCALIZATION)
    trial = play(KeepingTrial("localization", SEEN), mapping=written(tmp_path))
    assert trial.elicited.source == "uncalibrated"
    assert trial.elicited.why == "the mapping says nothing of localization"


def test_a_mapping_of_another_judge_or_ablation_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, judge="model", prompts="pace/v1")
    with pytest.raises(UsageError, match="fitted with ablation 'none' and judge 'model'"):
        load("pace").preflight({"mapping": path})
    pytest.importorskip("openai")
    path = written(tmp_path, judge="model", prompts="pace/v0")
    model = ModelSettings(model="openai/scripted", base_url="http://127.0.0.1:1/v1")
    with pytest.raises(UsageError, match="prompts 'pace/v0', these are 'pace/v1'"):
        load("pace").preflight({"mapping": path, "judge": "model"}, model)
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match="is no mapping"):
        load("pace").preflight({"mapping": str(tmp_path / "bad.json")})
    with pytest.raises(UsageError, match="cannot be read") as caught:
        load("pace").preflight({"mapping": str(tmp_path / "none.json")})
    assert "calibrate fit" in caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inner": "statistcal"}, "there is no agent"),
        ({"inner": "external"}, "submits through the trial's doors"),
        ({"inner": "cmd:true"}, "submits through the trial's doors"),
        ({"inner_args": "repairs=2"}, "is no JSON object"),
        ({"inner_args": '{"repars": 2}'}, "has no argument 'repars'"),
        ({"judge": "gpt"}, "judge='gpt' is unknown"),
        ({"ablation": "all"}, "ablation='all' is unknown"),
        ({"votes": "0"}, "too few"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_boots(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load("pace").preflight(arguments)


def test_a_model_judge_without_a_model_is_told_before_anything_boots() -> None:
    with pytest.raises(PreflightError, match="needs a model"):
        load("pace").preflight({"judge": "model"})
    with pytest.raises(PreflightError, match="'react' needs a model"):
        load("pace").preflight({"inner": "react"})


def test_arguments_of_the_inner_agent_are_given_as_json() -> None:
    load("pace").preflight({"inner_args": '{"repairs": 2}'})
    with pytest.raises(UsageError, match="'statistical' has no argument 'repair'"):
        load("pace").preflight({"inner_args": '{"repair": 2}'})


# -- ablations ------------------------------------------------------------------------------------


def test_references_come_from_the_memory_of_this_app_and_are_named() -> None:
    plays(DIAGNOSIS)
    memory = FakeMemory(past("INC-1"), past("INC-2", "cart", "disk_full"))
    trial = play(KeepingTrial("diagnosis", SEEN), memory)
    assert trial.elicited.references == ["INC-1", "INC-2"]
    ((query, app),) = memory.asked
    assert app == "shop"
    assert "FIRING HighErrorRatio" in query
    assert "HighErrorRatio web" in query


@pytest.mark.parametrize(("namespace", "app"), [("shop-x7k2p", "shop"), ("shopping", None)])
def test_the_app_is_known_by_its_namespace_on_a_cluster_and_a_stranger_has_no_past(
    namespace: str, app: str | None
) -> None:
    plays(DIAGNOSIS)
    memory, trial = FakeMemory(past()), KeepingTrial("diagnosis", SEEN)
    trial.brief = trial.brief.model_copy(update={"namespace": namespace, "app": "Online shop"})
    play(trial, memory)
    assert [asked for _, asked in memory.asked] == ([app] if app else [])
    assert trial.elicited.references == (["INC-1"] if app else [])


def test_without_retrieval_the_memory_is_not_asked() -> None:
    plays(DIAGNOSIS)
    memory = FakeMemory(past())
    trial = play(KeepingTrial("diagnosis", SEEN), memory, ablation="no-retrieval")
    assert memory.asked == []
    assert trial.elicited.references == []
    assert trial.elicited.coe is not None


def test_verbalised_only_takes_what_was_stated() -> None:
    plays(DETECTION)
    trial = play(KeepingTrial("detection", SEEN), ablation="verbalised")
    found = trial.elicited
    assert (found.coe, found.rce, found.judge) == (None, None, None)
    assert found.confidence == found.stated == 0.97


def test_self_consistency_submits_the_answer_of_most_and_their_share() -> None:
    other = {"candidates": [{"component": "cart", "probability": 0.8}]}
    plays(other, LOCALIZATION, {"candidates": LOCALIZATION["candidates"][:1]}, other, LOCALIZATION)
    trial = play(KeepingTrial("localization", SEEN), ablation="self-consistency")
    assert trial.submitted["candidates"][0] == {"component": "web", "probability": 0.6}
    found = trial.elicited
    assert (found.agreement, found.samples, found.judge) == (0.6, 5, None)
    # Five samples that look at the same thing cost one call.
    assert [name for name, _ in trial.calls] == ["alerts", "submit"]


def test_an_agent_without_chance_agrees_with_itself() -> None:
    plays(DETECTION)
    trial = play(KeepingTrial("detection", SEEN), ablation="self-consistency", votes=3)
    assert trial.elicited.agreement == 1.0


def test_a_repair_is_not_tried_several_times() -> None:
    plays(MITIGATION)
    trial = play(KeepingTrial("mitigation", SEEN), ablation="self-consistency")
    assert trial.submitted["confidence"] == 0.97
    assert trial.elicited.source == "unchanged"
    assert "cannot be tried several times" in trial.elicited.why


def test_samples_end_where_the_budget_does() -> None:
    class Curious(Scripted):
        """Each run looks at something that none before did."""

        tools = ("alerts", "services", "topology", "changes")

        async def run(self, trial: Any) -> None:
            tool, *Curious.tools = Curious.tools
            await trial.call(tool)
            await trial.call("submit", **DETECTION)

    trial = KeepingTrial("detection", steps=3)
    made = module("agent").Pace(inner=INNER, ablation="self-consistency", memory=FakeMemory())
    made._make = Curious
    with pytest.raises(LimitExceeded):
        # The fake's budget counts `submit` too, which a real trial's does not.
        asyncio.run(made.run(trial))
    assert trial.elicited.samples == 3
    assert [name for name, _ in trial.calls] == ["alerts", "services", "topology"]


def test_a_sample_may_repair_its_answer_once() -> None:
    sampling = module("sampling")
    trial = KeepingTrial("detection", SEEN)
    handle = sampling.Sample(trial, {})

    class Clumsy:
        async def run(self, inner: Any) -> None:
            refused = await inner.call("submit", anomaly="perhaps")
            assert not refused.ok
            assert (await inner.call("submit", **DETECTION)).ok

    asyncio.run(sampling.play(Clumsy(), handle))
    assert handle.answer is not None

    class Hopeless:
        async def run(self, inner: Any) -> None:
            while not inner.ended:
                await inner.call("submit", anomaly="perhaps")

    handle = sampling.Sample(trial, {})
    asyncio.run(sampling.play(Hopeless(), handle))
    assert handle.answer is None
    assert sampling.modal([handle.answer]) is None
    assert trial.calls == []


# -- the scripted judge ---------------------------------------------------------------------------


def judged(claimed: dict[str, Any], *seen: Observation, references: Any = ()) -> Any:
    answers = module("answers")
    answer = answers.read("diagnosis", claimed)
    trial = KeepingTrial("diagnosis")
    case = module("judge").Case(
        trial.brief, seen, references, "HighErrorRatio web answers",
        answers.claim(answer),
    )  # fmt: skip
    return asyncio.run(module("scripted").ScriptedJudge().judge(case, trial))


def saw(tool: str, said: str, data: Any = None, **arguments: Any) -> Observation:
    return Observation(
        id="obs-1", tool=tool, arguments=arguments, ok=True, text=said, data=data, time="now"
    )


def blaming(component: str, cause: str = "memory_leak") -> dict[str, Any]:
    return {"hypotheses": [{"component": component, "cause": cause, "probability": 0.97}]}


LOGS = saw("logs_patterns", "range\n90 web error: out of memory, killed\n2 cart error: timeout")
NAMES = saw("services", "table", [{"component": "web"}, {"component": "cart"}])


def test_the_judge_believes_whom_the_evidence_names() -> None:
    alerts = saw("alerts", ALERTS)
    right, wrong = (judged(blaming(c), NAMES, alerts, LOGS) for c in ("web", "cart"))
    assert right.rce > wrong.rce + 0.2
    assert right.coe == wrong.coe, "the claim is not shown to the first phase"
    assert right == judged(blaming("web"), NAMES, alerts, LOGS)


def test_more_evidence_suffices_better() -> None:
    none = judged(blaming("web"))
    some = judged(blaming("web"), NAMES, saw("alerts", ALERTS))
    more = judged(blaming("web"), NAMES, saw("alerts", ALERTS), LOGS, saw("changes", "web rolled"))
    assert none.coe < some.coe < more.coe


def test_similar_incidents_of_the_past_support_what_they_had() -> None:
    seen = (NAMES, saw("alerts", ALERTS), LOGS)
    without = judged(blaming("web"), *seen)
    agreeing = judged(blaming("web"), *seen, references=[past()])
    against = judged(blaming("web"), *seen, references=[past("INC-2", "cart", "disk_full")])
    assert agreeing.rce > against.rce
    assert agreeing.coe != without.coe


def test_pods_and_rising_series_count_for_their_component() -> None:
    points = [[i, 0.01] for i in range(12)] + [[i, 0.9] for i in range(12, 16)]
    rows = [{"labels": {"pod": "web-7f9c4d8b6-x2x4z"}, "points": points}]
    series = saw("metrics_range", "table", rows, query="rate(errors_total[1m])")
    found = module("evidence").collect([NAMES, series], ["web"])
    assert found.alarming["metrics"]["web"] == 1
    assert found.deviating == 1
    assert module("evidence").component_in("web-postgres-0", {"web"}) is None


def test_that_nothing_is_wrong_is_believed_where_nothing_alarms() -> None:
    calm = judged({"hypotheses": []}, saw("alerts", "at: now\n(none)"))
    loud = judged({"hypotheses": []}, saw("alerts", ALERTS))
    assert calm.rce > 0.9
    assert loud.rce < 0.5


# -- the model judge ------------------------------------------------------------------------------


def voted(*replies: Any, votes: int = 2, task: Any = "diagnosis") -> tuple[KeepingTrial, list[Any]]:
    pytest.importorskip("openai")
    plays(DIAGNOSIS)
    trial = KeepingTrial(task, SEEN)
    with completions(list(replies)) as (url, requests):
        model = ModelSettings(model="openai/scripted", base_url=url)
        play(trial, FakeMemory(past()), model=model, judge="model", votes=votes)
    return trial, requests


def test_votes_of_both_phases_are_counted_and_their_tokens_told_apart() -> None:
    trial, requests = voted(
        text("Much is known.\nSUFFICIENT: yes"), text("SUFFICIENT: no"),
        text("RATING: 80"), text("**RATING:** unclear\nRATING: 40"),
    )  # fmt: skip
    found = trial.elicited
    assert (found.coe, found.rce) == (0.5, pytest.approx(0.6))
    assert (found.coe_votes, found.rce_votes) == ([True, False], [0.8, 0.4])
    assert (found.judge, found.prompts, found.invalid_votes) == ("model", "pace/v1", 0)
    assert (found.judge_calls, found.judge_tokens_in, found.judge_tokens_out) == (4, 400, 28)
    assert trial.tokens == [400, 28]
    assert "judge: 4 calls, 428 tokens" in trial.notes[-1]
    assert {r["temperature"] for r in requests} == {1.0}
    assert len(lines(trial.kept["confidence_votes.jsonl"])) == 4


def test_the_claim_is_shown_in_the_second_phase_only() -> None:
    trial, requests = voted(text("Enough.\nSUFFICIENT: yes"), text("RATING: 10"), votes=1)
    first, second = (r["messages"][0]["content"] for r in requests)
    assert "memory_leak" not in first.partition("What was observed")[2]
    assert "The cause lies in the component web, of the kind memory_leak." in second
    assert "Enough." in second
    assert "INC-1" in first
    assert "FIRING HighErrorRatio" in first
    kept = lines(trial.kept["confidence_votes.jsonl"])
    assert [one["text"] for one in kept] == [first, second]


def test_replies_without_a_vote_are_not_counted() -> None:
    trial, _ = voted(
        text("SUFFICIENT: perhaps"), text("SUFFICIENT: yes"), text("RATING: 50"), text("none")
    )
    assert (trial.elicited.coe, trial.elicited.rce, trial.elicited.invalid_votes) == (1.0, 0.5, 2)
    trial, _ = voted(text("I cannot say."))
    assert trial.elicited.source == "unchanged"
    assert trial.elicited.why == "no vote of the judge was valid"
    assert trial.submitted["hypotheses"][0]["probability"] == 0.9


@pytest.mark.parametrize(
    ("verdict", "rating"),
    [
        ("RATING: 85", 0.85),
        ("**RATING:** 85", 0.85),
        ("RATING: **85**", 0.85),
        ("RATING: 85%", 0.85),
        ("RATING: 85/100", 0.85),
        ("RATING: 100", 1.0),
        ("RATING: 0.85", None),
        ("RATING: 8/10", None),
        ("RATING: 850", None),
    ],
)
def test_a_rating_is_a_whole_number_from_0_to_100(verdict: str, rating: float | None) -> None:
    trial, _ = voted(text("**SUFFICIENT:** yes"), text(verdict), votes=1)
    assert trial.elicited.coe == 1.0
    assert trial.elicited.rce == rating


def test_a_vote_whose_content_comes_in_parts_is_read() -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "SUFFICIENT: yes"}]
    trial, _ = voted({"role": "assistant", "content": parts}, text("RATING: 70"), votes=1)
    assert (trial.elicited.coe, trial.elicited.rce) == (1.0, 0.7)


def test_half_a_character_of_an_analysis_does_not_spoil_the_rating() -> None:
    trial, _ = voted(text("well \ud83d\nSUFFICIENT: yes"), text("RATING: 70"), votes=1)
    assert (trial.elicited.coe, trial.elicited.rce) == (1.0, 0.7)


def test_votes_end_where_the_budget_does() -> None:
    pytest.importorskip("openai")
    plays(DIAGNOSIS)
    trial = KeepingTrial("diagnosis", SEEN, tokens=200)
    with completions([text("SUFFICIENT: yes")]) as (url, requests):
        model = ModelSettings(model="openai/scripted", base_url=url)
        with pytest.raises(LimitExceeded):
            play(trial, FakeMemory(past()), model=model, judge="model")
    assert len(requests) == 2


def test_prompts_that_change_need_another_version() -> None:
    folder = Path(str(load("pace").folder)) / "prompts"
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(folder.iterdir()))).hexdigest()
    assert (module("voting").VERSION, digest[:12]) == ("pace/v1", "09f13e15dcc5")


def test_an_endpoint_that_refuses_is_no_fault_of_the_agent() -> None:
    with pytest.raises(PreflightError, match="does not answer"):
        voted(404)


def test_a_vote_that_was_turned_away_is_asked_for_again() -> None:
    trial, requests = voted(429, text("SUFFICIENT: yes"), text("RATING: 70"), votes=1)
    assert len(requests) == 3
    assert (trial.elicited.coe, trial.elicited.rce) == (1.0, 0.7)
    assert (trial.elicited.judge_calls, trial.tokens) == (2, [200, 14])
