"""Measuring margins: what both sides show, and a journal that goes on where it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import orchestrator_fakes as fakes
import pytest

from aiopslab.models.incident import IncidentSpec
from aiopslab.models.margin import Margin
from aiopslab.orchestrator import documents, margins, staging
from aiopslab.orchestrator.soundness import Target
from aiopslab.problems.draw import DrawnIncident

LAB = fakes.FakeLab({})


def with_gate(**symptom: Any) -> IncidentSpec:
    spec = fakes.SPECS["one"].model_dump(by_alias=True)
    return IncidentSpec.model_validate({**spec, "symptom": symptom})


SLI = with_gate(any=[{"sli": {"journey": "browse", "success_below": 0.9}}], within="2m")
NEVER = with_gate(any=[{"alert": "NoSuchAlert"}], within="60s")


async def led(spec: IncidentSpec) -> staging.Led:
    drawn = LAB.draw("one", 7)
    env: Any = fakes.FakeEnvironment(7)
    await env.advance(300.0)
    parts = (drawn.app, drawn.seed, {}, drawn.faults, [], 60.0)
    return await staging.lead(env, DrawnIncident(spec, *parts))


def test_the_side_with_the_fault_is_read_at_hand_over() -> None:
    async def go() -> margins.Struck:
        return await margins.struck(await led(SLI))

    found = asyncio.run(go())
    assert found.opened_s == 10.0
    assert found.seen == "browse success 0.833 < 0.9"
    # Ten seconds of hand-over later two thirds of the trailing minute are still good.
    assert found.lasted_s == 20.0
    assert [r.seen for r in found.readings] == [pytest.approx(2 / 3, abs=1e-3)]


def test_a_gate_that_stays_closed_is_found_and_named() -> None:
    async def go() -> margins.Struck:
        return await margins.struck(await led(NEVER))

    found = asyncio.run(go())
    assert found.opened_s is None
    assert found.seen.startswith("not seen within 60 s")


def test_the_twin_goes_on_for_as_long_and_its_gate_is_watched() -> None:
    async def go(spec: IncidentSpec, *, broken: bool) -> tuple[str, list[Any], float]:
        start = await led(spec)
        env: Any = start.env
        begun = env.now()
        if broken:
            await env.kube.patch("Deployment", "web", {"spec": {"replicas": 0}})
        seen, readings = await margins.beside(start, 25.0)
        return seen, [r.seen for r in readings], env.now() - begun

    assert asyncio.run(go(SLI, broken=False)) == ("", [1.0], 25.0)
    seen, _, _ = asyncio.run(go(SLI, broken=True))
    assert seen == "browse success 0.833 < 0.9"


class FakePool:
    """Tells of every job that it is given, except of those of one incident."""

    silent = ""
    given: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, run: Any, config: Any, on_event: Any) -> None:
        self._on_event = on_event

    async def work(self, jobs: Any, hosts: int) -> None:
        for _, job in jobs:
            self.given.append((job.incident, job.attempt))
            if job.incident != self.silent:
                found = {"opened_s": 10.0, "seen": "alert HighErrorRatio"}
                about = {"incident": job.incident, "attempt": job.attempt}
                self._on_event({"event": margins.EVENT, **about, "found": found})


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> type[FakePool]:
    FakePool.given = []
    monkeypatch.setattr(FakePool, "silent", "")
    monkeypatch.setattr(margins, "Pool", FakePool)
    monkeypatch.setattr(margins, "find_lab", lambda _: LAB)
    monkeypatch.setattr(
        margins, "asked", lambda names: [Target(spec=fakes.SPECS[n], asked=n) for n in names]
    )
    return FakePool


def measured(out: Path, *names: str, seeds: list[int]) -> list[Margin]:
    return asyncio.run(margins.measure(names, seeds=seeds, out=out, hosts=1))


def test_what_is_in_the_journal_is_not_measured_again(pool: type[FakePool], tmp_path: Path) -> None:
    out = tmp_path / "margins.jsonl"
    measured(out, "one", seeds=[4, 5])
    found = measured(out, "one", "two", seeds=[5, 6])
    assert sorted(pool.given) == [("one", 1), ("one", 2), ("one", 2), ("two", 1), ("two", 2)]
    assert [(m.incident, m.seed) for m in found] == [
        ("one", 5), ("one", 6), ("two", 5), ("two", 6),
    ]  # fmt: skip
    kept = [(m.incident, m.seed) for m in documents.read_journal(out, Margin)]
    assert kept == [("one", 4), ("one", 5), ("one", 6), ("two", 5), ("two", 6)]


def test_what_nothing_was_heard_of_is_measured_again(
    pool: type[FakePool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "margins.jsonl"
    monkeypatch.setattr(pool, "silent", "one")
    (lost,) = measured(out, "one", seeds=[0])
    assert lost.error == "the process that measured it ended"
    assert lost.failed
    monkeypatch.setattr(pool, "silent", "")
    (found,) = measured(out, "one", seeds=[0])
    assert not found.failed


def test_a_changed_incident_is_measured_again(
    pool: type[FakePool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "margins.jsonl"
    measured(out, "one", seeds=[0])
    monkeypatch.setitem(fakes.SPECS, "one", fakes.SPECS["one"].model_copy(update={"title": "x"}))
    measured(out, "one", seeds=[0])
    assert len(pool.given) == 2
    assert len(documents.read_journal(out, Margin)) == 1


def test_a_line_that_a_crash_cut_off_spoils_nothing(pool: type[FakePool], tmp_path: Path) -> None:
    out = tmp_path / "margins.jsonl"
    measured(out, "one", seeds=[0])
    with out.open("a", encoding="utf-8") as file:
        file.write('{"incident": "tw')
    found = measured(out, "one", "two", seeds=[0])
    assert [m.incident for m in found] == ["one", "two"]
    assert len(documents.read_journal(out, Margin)) == 2


def test_an_incident_without_a_gate_is_left_out(pool: type[FakePool], tmp_path: Path) -> None:
    assert measured(tmp_path / "margins.jsonl", "calm", seeds=[0]) == []
    assert pool.given == []
