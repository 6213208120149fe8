"""Calibrating from the command line: fit, test on other incidents, play with the mapping."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import LAB
from made_labels import made_run

TEN = [f"incident-{i}" for i in range(10)]
FIT = ("calibrate", "fit", "runs/labels", "-o", "m.json")


@pytest.fixture
def labels(aiopslab):
    """A run of 60 answers of ten incidents, a third of them right."""
    return made_run(Path("runs/labels"), TEN, attempts=3)


def test_a_mapping_is_fitted_and_shown(aiopslab, labels):
    fitted = aiopslab(*FIT)
    assert fitted.code == 0, fitted.err
    assert "fitted on 60 answers of sure, 20 right: localization, diagnosis" in fitted.out
    assert "from labels: labels, sim, seeds 0, 1, 2, 10 incidents" in fitted.out
    assert sum(line.endswith("  chosen") for line in fitted.out.splitlines()) == 1
    assert "COE \\ RCE" in fitted.out
    assert "next: aiopslab run SUITE -a pace -A inner=AGENT -A mapping=m.json" in fitted.out
    file = json.loads(Path("m.json").read_text(encoding="utf-8"))
    assert file["schema"] == "aiopslab/confidence-mapping@1"
    assert file["fitted_on"]["incidents"] == TEN
    assert file["fitted_on"]["held_out"] == []
    assert aiopslab("calibrate", "show", "m.json").out in fitted.out


def test_the_same_records_give_the_same_mapping(aiopslab, labels):
    for name in ("a.json", "b.json"):
        assert aiopslab("calibrate", "fit", labels, "-o", name, "--seed", "3").code == 0
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()


def test_a_split_tests_on_the_incidents_it_kept(aiopslab, labels):
    more = made_run(Path("runs/more"), [f"other-{i}" for i in range(10)], attempts=3)
    told = ("calibrate", "fit", labels, more, "-o", "m.json", "--split", "1/2")
    data = aiopslab(*told, "--json").document["data"]
    kept, fit_on = data["fitted_on"]["held_out"], data["fitted_on"]["incidents"]
    assert (len(kept), len(fit_on), data["n"]) == (10, 10, 60)
    assert not set(kept) & set(fit_on)
    test = data["held_out"]
    assert (test["n"], test["n_incidents"], test["n_left_out"]) == (60, 10, 0)
    rows = {row["name"]: row for row in test["rows"]}
    assert set(rows) == {"as stated", "uncalibrated", "base rate", "mapped"}
    assert rows["mapped"]["brier"] < rows["base rate"]["brier"] < rows["as stated"]["brier"]
    assert test["difference"]["high"] < 0.0
    shown = aiopslab("calibrate", "show", "m.json").out
    assert "the mapping lowers the Brier score" in shown
    assert "10 incidents, 10 kept for a test" in shown


def test_answers_of_incidents_of_the_fit_are_left_out_of_a_test(aiopslab, labels):
    assert aiopslab(*FIT).code == 0
    same = aiopslab("calibrate", "show", "m.json", labels)
    assert same.code == 2
    assert "fitted on every incident of these runs" in same.err
    mixed = made_run(Path("runs/mixed"), [*TEN[:2], "new-1", "new-2"], attempts=2)
    ended = aiopslab("calibrate", "show", "m.json", mixed)
    assert "tested on 8 answers of 2 other incidents" in ended.out
    assert "8 answers of incidents of the fit left out" in ended.out
    alone = made_run(Path("runs/alone"), ["new-1"], attempts=2)
    assert "one incident: no interval" in aiopslab("calibrate", "show", "m.json", alone).out


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("fit",), "no runs to fit on", "calibrate fit RUN"),
        (("show",), "no mapping to show", "calibrate show"),
        (("fit", "runs/labels"), "nowhere to write", "-o mapping.json"),
        (("fit", "runs/none", "-o", "m.json"), "no run at 'runs/none'", "aiopslab list runs"),
        (("fit", "runs/labels", "-o", "m.json", "--split", "2"), "no share between", "1/2"),
        (("fit", "runs/labels", "-o", "m.json", "--folds", "1"), "too few", "--folds 5"),
        (("fit", "runs/labels", "-o", "no/m.json"), "no directory 'no'", "-o FILE"),
        (("fit", "runs/labels", "-o", "m.json", "--split", "1/2"), "30 labels; a mapping takes 50",
         "COE times RCE"),
        (("fit", "runs/labels", "-o", "m.json", "-t", "diagnosis"), "30 labels", "COE times RCE"),
        (("fit", "runs/labels", "-o", "m.json", "--task", "mitigation"),
         "no confidence was elicited in 'runs/labels' of mitigation", "-a pace"),
        (("show", "m.json"), "'m.json' does not exist", ""),
        (("show", "m.json", "--folds", "3"), "show fits nothing", "calibrate show"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_what_to_type(aiopslab, labels, arguments, message, hint):
    ended = aiopslab("calibrate", *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert hint in ended.err
    assert "Traceback" not in ended.err


def test_what_does_not_belong_together_is_not_mixed(aiopslab, labels):
    verbal = {"ablation": "verbalised", "judge": None, "coe": None, "rce": None}
    other = made_run(Path("runs/verbal"), TEN, attempts=3, **verbal)
    mixed = aiopslab(*FIT, other)
    assert mixed.code == 2
    assert "ablation none, judge scripted; ablation verbalised, no judge" in mixed.err
    assert aiopslab(*FIT).code == 0
    assert "the mapping is for ablation none" in aiopslab("calibrate", "show", "m.json", other).err
    cluster = made_run(Path("runs/kind"), TEN, attempts=1, environment="kind")
    assert "never mixed" in aiopslab(*FIT, cluster).err
    assert aiopslab("calibrate", "fit", other, "-o", "v.json").code == 0
    assert aiopslab("calibrate", "show", "v.json").out.splitlines()[-2].split()[0] == "stated"


def test_answers_without_features_teach_nothing(aiopslab):
    made_run(Path("runs/labels"), TEN, attempts=3, source="unchanged", why="it escalates")
    assert "no confidence was elicited" in aiopslab(*FIT).err
    made_run(Path("runs/labels"), TEN, attempts=3, coe=None)
    assert "no confidence was elicited" in aiopslab(*FIT).err


def test_a_run_with_the_mapping_says_what_it_says(aiopslab, labels):
    assert aiopslab(*FIT).code == 0
    ended = aiopslab(
        "run", "one", *LAB, "-a", "pace", "-A", "inner=calibrate_agents:Sure", "-A",
        "mapping=m.json", "--task-type", "diagnosis", "--name", "mapped", "-n", "1", "-q",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    trial = Path("runs/mapped/trials/one-diagnosis__1")
    left = json.loads((trial / "agent/confidence.json").read_text(encoding="utf-8"))
    assert (left["source"], left["inner"]) == ("mapped", "calibrate_agents:Sure")
    grade = json.loads((trial / "grade.json").read_text(encoding="utf-8"))
    assert grade["confidence"] == pytest.approx(left["confidence"], abs=1e-4)
    refused = aiopslab("calibrate", "fit", "runs/mapped", "-o", "n.json")
    assert "1 labels; a mapping takes 50" in refused.err
    missing = aiopslab("run", "one", *LAB, "-a", "pace", "-A", "mapping=gone.json", "-q")
    assert missing.code == 2
    assert "mapping='gone.json' cannot be read" in missing.err
