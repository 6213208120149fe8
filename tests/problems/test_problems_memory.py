"""The memory of past incidents: which may be in it, that it gives nothing away, that it is made."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from aiopslab.faults.registry import KINDS
from aiopslab.models.past_incident import PastIncident
from aiopslab.models.sighting import SeenAlert, SeenEvent, SeenJourney, Sighting
from aiopslab.models.truth import FixStep
from aiopslab.orchestrator import documents, lock
from aiopslab.orchestrator.leaks import HONEST, LAB_WORDS
from aiopslab.orchestrator.sightings import owner, publish
from aiopslab.problems import catalogue, memory, remedies, training
from aiopslab.services.catalogue import load_app
from aiopslab.tools.memory import IncidentMemory
from aiopslab.tools.vocabulary import causes

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "problems" / "memory"
SIGHTINGS = documents.read_journal(ROOT / "docs" / "memory.jsonl", Sighting)
RECORDS = [
    record
    for path in sorted(FOLDER.glob("*.jsonl"))
    for record in documents.read_journal(path, PastIncident)
]
TELL_TALES = re.compile(
    "|".join(
        map(re.escape, sorted({*LAB_WORDS, *KINDS, *catalogue.incidents()}, key=len, reverse=True))
    ),
    re.IGNORECASE,
)


@cache
def committed() -> list[memory.WrittenUp]:
    return memory.corpus(SIGHTINGS)


@cache
def held_causes() -> set[str]:
    return training.held_out_causes()


def by_app() -> dict[str, list[PastIncident]]:
    apps = sorted({record.app for record in RECORDS})
    return {app: [record for record in RECORDS if record.app == app] for app in apps}


def seen(incident: str, seed: int, component: str = "frontend") -> Sighting:
    alerts = [
        SeenAlert(name=name, firing=True, severity="warning", component=component, summary="bad")
        for name in ("HighErrorRatio", "HighLatency")
    ]
    journey = SeenJourney(
        journey="book", success=0.5, p95_ms=90.0, promised_success=0.98, promised_p95_ms=500.0
    )
    events = [SeenEvent(reason="BackOff", component="rate", count=3)]
    return Sighting(
        incident=incident, seed=seed, digest="", lasted_s=120.0, alerts=alerts, events=events,
        journeys=[journey],
    )  # fmt: skip


# -- what may be remembered -----------------------------------------------------------------------


def test_nothing_that_a_suite_scores_is_remembered() -> None:
    held = {spec.name for spec in training.held_out()}
    suites = [s for s in catalogue.suites().values() if s.name != training.EVERYTHING]
    assert held == {name for suite in suites for name in catalogue.suite_incidents(suite)}
    remembered = {row.incident for row in SIGHTINGS}
    assert remembered
    assert not remembered & held


def test_no_record_is_about_a_cause_that_is_right_for_a_scored_incident_on_any_app() -> None:
    held = held_causes()
    assert "service_port_mismatch" in held
    assert not {record.cause for record in RECORDS} & held
    assert {record.cause for record in RECORDS} <= set(causes())


def test_no_readable_field_names_an_incident_a_kind_or_the_lab() -> None:
    for record in RECORDS:
        text = HONEST.sub("-------", documents.encode(record).replace("aiopslab/past-incident", ""))
        assert not TELL_TALES.search(text), (record.id, TELL_TALES.search(text))


def test_the_scan_would_see_a_tell_tale() -> None:
    for word in ("release/memory-leak", "node-down", "Injected", "benchmark"):
        assert TELL_TALES.search(f"we saw {word} there")


def test_remembered_draws_have_seeds_that_runs_do_not_use() -> None:
    assert min(row.seed for row in SIGHTINGS) >= training.FIRST_SEED > 100_000


# -- the committed corpus -------------------------------------------------------------------------


def test_what_was_seen_is_of_the_training_incidents_as_they_are_now() -> None:
    wanted = training.remembered(training.training())
    have = {(row.incident, row.seed): row.digest for row in SIGHTINGS}
    assert have == {(spec.name, seed): lock.of_incident(spec) for spec, seed in wanted}, (
        "run: aiopslab memory"
    )


def test_the_committed_corpus_is_what_the_generator_makes_byte_for_byte(tmp_path: Path) -> None:
    publish([one.record for one in committed()], tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in FOLDER.glob("*.jsonl")}, (
        "run: aiopslab memory"
    )


def test_ten_to_twenty_per_cent_of_each_apps_records_are_stale_or_misleading() -> None:
    made = committed()
    for app in by_app():
        ours = [one for one in made if one.record.app == app]
        assert 0.1 <= len(memory.unreliable(ours)) / len(ours) <= 0.2, app
    assert {one.reliability for one in made} == {"sound", "stale", "misleading"}


def test_a_sound_record_tells_the_truth_and_the_others_do_not() -> None:
    for one in committed():
        right = (one.truth.component, one.truth.cause)
        told = (one.record.component, one.record.cause)
        assert (told == right) == (one.reliability == "sound"), one
        if one.reliability == "stale":
            assert one.record.cause == one.truth.cause
        if one.reliability == "misleading":
            assert one.record.component != one.truth.component
            assert one.record.cause != one.truth.cause


def test_ids_are_opaque_unique_and_in_the_order_of_dates() -> None:
    loaded = IncidentMemory.load().records
    assert len(loaded) == len(RECORDS)
    assert all(re.fullmatch(r"INC-\d{4}", record.id) for record in loaded)
    assert [r.id for r in sorted(loaded, key=lambda r: (r.date, r.id))] == [r.id for r in loaded]


def test_the_past_is_over_before_any_world_begins() -> None:
    for app, records in by_app().items():
        first = load_app(app).epoch[:10]
        assert all("2023-01-01" < record.date < first for record in records), app


def test_a_search_by_the_alerts_of_a_record_finds_what_is_like_it() -> None:
    everything = IncidentMemory.load()
    for record in RECORDS:
        best = everything.search(" ".join(record.symptoms), app=record.app, limit=1)[0].record
        assert set(best.symptoms) & set(record.symptoms), record.id


# -- the generator --------------------------------------------------------------------------------


def test_a_draw_that_was_not_seen_to_hurt_gives_no_record() -> None:
    row = seen("release-bad-tag", training.FIRST_SEED)
    assert len(memory.corpus([row])) == 1
    for why in ("unseen", "error"):
        assert memory.corpus([row.model_copy(update={why: "no"})]) == []


def test_the_order_in_which_draws_were_played_does_not_matter() -> None:
    rows = [seen("release-bad-tag", training.FIRST_SEED + n) for n in range(4)]
    assert memory.corpus(rows) == memory.corpus(rows[::-1])


@pytest.mark.parametrize("count", [5, 7, 10, 13, 20, 33])
def test_the_share_of_unreliable_records_holds_for_any_size(count: int) -> None:
    names = ["release-bad-tag", "quota-exceeded"]
    rows = [seen(names[n % 2], training.FIRST_SEED + n) for n in range(count)]
    made = memory.corpus(rows)
    assert 0.1 <= len(memory.unreliable(made)) / len(made) <= 0.2
    kinds = Counter(one.reliability for one in made)
    assert kinds["stale"] - kinds["misleading"] in (0, 1)


def test_a_record_is_about_the_app_even_where_nothing_alerted() -> None:
    quiet = Sighting(incident="release-bad-tag", seed=training.FIRST_SEED, digest="")
    (one,) = memory.corpus([quiet])
    assert one.record.component in one.record.services
    assert "support" in one.record.summary or "customer" in one.record.summary


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([("k8s_rollout", {"action": "undo", "kind": "Deployment", "name": "rate"})],
         "Rolled back deployment rate."),
        ([("k8s_patch", {"kind": "ConfigMap", "name": "c", "patch": '{"data": {"A": "1"}}'}),
          ("wait", {"seconds": 9}),
          ("k8s_rollout", {"action": "restart", "kind": "Deployment", "name": "a"})],
         "Set A=1 of configmap c, then restarted deployment a."),
        ([("k8s_patch", {"kind": "Pod", "name": "p", "patch": '{"metadata": {"x": null}}'})],
         "Set x=nothing of pod p."),
        ([("queue_command", {"store": "nats", "command": "consumer rm a b"})],
         "Ran queue command: nats consumer rm a b."),
        ([("k8s_scale", {"kind": "Deployment", "name": "a", "replicas": 3})],
         "Scaled deployment a to 3."),
        ([("wait", {"seconds": 60})], "Waited until it was over."),
    ],
)  # fmt: skip
def test_a_fix_is_told_in_words(steps: list[tuple[str, dict[str, object]]], said: str) -> None:
    fix = [FixStep(tool=tool, arguments=arguments) for tool, arguments in steps]
    assert remedies.told(fix) == said


def test_an_object_belongs_to_the_component_with_the_longest_name_that_fits() -> None:
    names = ["rate", "rate-postgres", "search"]
    assert owner(names, "rate-postgres-0") == "rate-postgres"
    assert owner(names, "rate-5bxwf45w54-777pw") == "rate"
    assert owner(names, "rated-1") == "rated-1"
