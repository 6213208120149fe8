"""The catalogue: targets a user may type, and the files of the project themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from aiopslab.errors import ContentError, UsageError
from aiopslab.models.task import TASKS
from aiopslab.problems import catalogue
from aiopslab.problems.census import census
from aiopslab.problems.patterns import PATTERNS, patterns_of

INCIDENT = {
    "schema": "aiopslab/incident@1",
    "name": "mine",
    "title": "Mine",
    "app": "hotel",
    "faults": [{"kind": "workload/scaled-to-zero", "target": "geo"}],
    "symptom": {"any": [{"alert": "HighErrorRatio"}], "within": "5m"},
    "difficulty": {"hops": 0, "signals": ["kube"]},
}


def write(path: Path, **changes: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**INCIDENT, **changes}), encoding="utf-8")
    return path


@pytest.fixture
def own_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A content root of the user's; the catalogue is read anew with it, and after it."""
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(tmp_path))
    catalogue.incidents.cache_clear()
    catalogue.suites.cache_clear()
    yield tmp_path / "problems"
    catalogue.incidents.cache_clear()
    catalogue.suites.cache_clear()


def ids(*targets: str) -> list[str]:
    return [p.id for p in catalogue.expand(targets)[1]]


def test_a_suite_is_its_incidents_asked_as_every_task_in_order() -> None:
    label, problems = catalogue.expand(["quickstart"])
    assert label == "quickstart"
    assert len(problems) == 12
    suite = catalogue.load_suite("quickstart")
    assert suite is not None
    assert [p.id for p in problems] == [f"{n}-{t}" for n in suite.incidents for t in TASKS]


def test_a_suite_may_be_asked_with_its_version() -> None:
    assert ids("core@1.0") == ids("core")
    with pytest.raises(UsageError, match=r"core@9\.9"):
        ids("core@9.9")


def test_the_core_suite_holds_what_it_promises() -> None:
    core = catalogue.of_suite("core")
    names, counted = {s.name for s in core}, census(core)
    for smaller in ("quickstart", "lite"):
        assert {s.name for s in catalogue.of_suite(smaller)} <= names
    assert counted.incidents >= 60
    assert counted.kinds >= 45
    assert len(counted.families) >= 12
    assert 0.15 <= counted.without_fault / counted.incidents <= 0.25
    assert counted.with_distractors * 2 >= counted.incidents
    assert counted.several_faults >= 4
    assert len({p for s in core for p in patterns_of(s)}) >= 10
    assert len([s for s in core if patterns_of(s)]) >= 12


def test_the_catalogue_holds_what_it_promises() -> None:
    everything = catalogue.of_suite("full")
    faulty = [s for s in everything if s.faults]
    parity = {s.name for s in catalogue.of_suite("aiopslab-parity")}
    assert parity <= {s.name for s in everything}
    assert sum(s.app == "llmserve" for s in everything) >= 12
    assert sum(s.app == "llmserve" for s in faulty) >= 11
    assert sum("cloud" in s.tags for s in everything) >= 8
    assert len([s for s in everything if patterns_of(s)]) >= 12
    assert 0.15 <= 1 - len(faulty) / len(everything) <= 0.25
    late = [s for s in faulty if any(d.at > 0 for d in s.distractors)]
    assert len(late) * 4 >= len(faulty), "the newest change is too often what broke it"


def test_an_incident_a_problem_and_a_glob_expand() -> None:
    assert ids("release-errors") == [f"release-errors-{t}" for t in TASKS]
    assert ids("release-errors-diagnosis") == ["release-errors-diagnosis"]
    assert set(ids("release-*-detection")) == {
        f"{n}-detection" for n in catalogue.incidents() if n.startswith("release-")
    }


def test_repeats_count_once_and_order_is_the_users() -> None:
    assert ids("release-errors-mitigation", "release-errors") == [
        "release-errors-mitigation",
        *(f"release-errors-{t}" for t in TASKS[:-1]),
    ]


def test_tasks_narrow_what_was_asked() -> None:
    label, problems = catalogue.expand(["quickstart", "core"], ["localization"])
    assert label == "mixed"
    assert {p.task for p in problems} == {"localization"}


def test_a_path_is_read_and_kept_as_it_was_asked(tmp_path: Path) -> None:
    path = str(write(tmp_path / "mine.yaml"))
    label, problems = catalogue.expand([path])
    assert label == "mine"
    assert {p.incident for p in problems} == {path}
    assert [p.id for p in problems] == [f"mine-{t}" for t in TASKS]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("quickstrat", "quickstart"),
        ("release-eror", "release-errors"),
        ("release-errors-diagnose", "release-errors-diagnosis"),
    ],
)
def test_an_unknown_target_suggests_the_near_one(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=typed) as caught:
        catalogue.expand([typed])
    assert meant in caught.value.hint


def test_nothing_left_is_said() -> None:
    with pytest.raises(UsageError, match="no problem left"):
        catalogue.expand([], ["detection"])


def test_a_name_that_is_not_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="the file is 'other'"):
        catalogue.load_incident(str(write(tmp_path / "other.yaml")))


def test_a_fault_without_a_symptom_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="needs a symptom"):
        catalogue.load_incident(str(write(tmp_path / "mine.yaml", symptom=None)))


def test_a_misspelt_key_names_file_line_and_the_near_key(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.yaml", dificulty={})
    with pytest.raises(ContentError, match=r"mine\.yaml:\d+: dificulty") as caught:
        catalogue.load_incident(str(path))
    assert "difficulty" in caught.value.hint


def test_the_users_incidents_and_suites_stand_beside_ours(own_content: Path) -> None:
    write(own_content / "incidents" / "mine.yaml")
    suite = {"schema": "aiopslab/suite@1", "name": "own", "title": "Own", "incidents": ["mine"]}
    (own_content / "suites").mkdir()
    for version in ("1.9", "1.10"):
        text = yaml.safe_dump({**suite, "version": version})
        (own_content / "suites" / f"own-{version}.yaml").write_text(text, encoding="utf-8")
    assert ids("own") == [f"mine-{t}" for t in TASKS]
    found = catalogue.load_suite("own")
    assert found is not None
    assert found.version == "1.10"
    assert "release-errors" in catalogue.incidents()


def test_a_suite_that_names_nothing_is_refused(own_content: Path) -> None:
    suite = {"schema": "aiopslab/suite@1", "name": "own", "title": "Own", "version": "1"}
    (own_content / "suites").mkdir(parents=True)
    text = yaml.safe_dump({**suite, "incidents": ["nothing-*"]})
    (own_content / "suites" / "own.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ContentError, match="matches no incident"):
        catalogue.expand(["own"])


def test_every_incident_says_which_signals_are_real() -> None:
    for spec in catalogue.incidents().values():
        assert spec.signals.get("real"), spec.name


def test_a_joint_incident_with_a_single_fault_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="joint is for incidents of two or more faults"):
        catalogue.load_incident(str(write(tmp_path / "mine.yaml", joint=True)))


def test_a_symptom_asks_for_any_or_for_all_never_both(tmp_path: Path) -> None:
    clauses = [{"alert": "HighErrorRatio"}]
    for lists in ({}, {"any": clauses, "all": clauses}, {"any": [], "all": []}):
        path = str(write(tmp_path / "mine.yaml", symptom={**lists, "within": "5m"}))
        with pytest.raises(ContentError, match="either 'any' or 'all'"):
            catalogue.load_incident(path)


HURTS = {"alert": "HighErrorRatio"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settle": 0}, r"settle: .* greater than 0 \(got 0\)"),
        ({"settle": float("nan")}, "settle: nan is not a duration"),
        ({"handover": float("inf")}, "handover: inf is not a duration"),
        ({"baseline": "-10m"}, r"baseline: .* \(got '-10m'\)"),
        ({"symptom": {"any": [HURTS], "within": 0}}, "within: .* greater than 0"),
        ({"symptom": {"any": [{}], "within": "5m"}}, "one of 'alert', 'sli' and 'promql'"),
        ({"symptom": {"any": [{**HURTS, "promql": "up"}], "within": "5m"}}, "'alert', 'promql'"),
        ({"symptom": {"any": [{"sli": {"journey": "book"}}], "within": "5m"}}, "without a bound"),
        (
            {"symptom": {"any": [{"sli": {"journey": "book", "success_below": 98}}], "within": 9}},
            r"success_below: .* \(got 98\)",
        ),
        ({"load": {"sacle": 2}}, "unknown key 'sacle'; write scale: 1.4"),
        ({"load": {"scale": "lots"}}, "'lots' is no factor above 0"),
        ({"load": {"scale": -1}}, "-1 is no factor above 0"),
        ({"draw": {"x": {}}}, "'x' needs one of selector, range, choice"),
        ({"draw": {"x": {"range": [1, 2], "choice": [1]}}}, "'x' needs one of"),
        ({"draw": {"x": {"choice": []}}}, "'x': nothing to choose from"),
        ({"draw": {"x": {"range": [5]}}}, r"'x': \[5\] is no range"),
        ({"draw": {"x": {"range": [9, 1]}}}, "'x': the range .* ends before it begins"),
        ({"draw": {"x": {"selector": ["geo"]}}}, "is no selector"),
        ({"tasks": []}, "tasks: "),
        (
            {"faults": [{"kind": "workload/scaled-to-zero", "target": "geo", "after": -60}]},
            "faults.0.after",
        ),
        (
            {"faults": [{"kind": "release/errors", "target": "geo", "params": {"share": [3, 1]}}]},
            "'share': the range",
        ),
        (
            {"distractors": [{"kind": "node/drain", "target": "node-a", "before": "-6m"}]},
            "distractors.0.before",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place_and_value(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    path = write(tmp_path / "mine.yaml", **changes)
    with pytest.raises(ContentError, match=said) as caught:
        catalogue.load_incident(str(path))
    assert str(caught.value).startswith(f"{path}:")
    assert "Value error" not in str(caught.value)


def test_a_suite_whose_version_is_no_number_is_refused(own_content: Path) -> None:
    suite = {"schema": "aiopslab/suite@1", "name": "own", "title": "Own", "incidents": ["geo"]}
    (own_content / "suites").mkdir(parents=True)
    text = yaml.safe_dump({**suite, "version": "latest"})
    (own_content / "suites" / "own.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ContentError, match=r"version: .* \(got 'latest'\)"):
        catalogue.load_suite("own")


def test_every_incident_of_the_hard_suite_names_the_pattern_it_is_built_on() -> None:
    suite = catalogue.load_suite("hard")
    assert suite is not None
    for name in suite.incidents:
        assert patterns_of(catalogue.load_incident(name)), name


def test_a_pattern_that_an_incident_names_is_a_known_one() -> None:
    for spec in catalogue.incidents().values():
        assert set(patterns_of(spec)) <= set(PATTERNS), spec.name


def test_three_incidents_have_two_faults_at_once_that_are_repaired_one_by_one() -> None:
    several = [s for s in catalogue.incidents().values() if len(s.faults) > 1]
    assert sum(not s.joint for s in several) >= 3
