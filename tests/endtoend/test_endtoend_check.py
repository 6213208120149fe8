"""``aiopslab check``: a sound incident passes, each planted defect is found and named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from endtoend_cli import PLANTED, aiopslab

INVALID = 6


def proofs(output: str) -> dict[str, dict[str, object]]:
    (verdict,) = json.loads(output)["data"]
    return {p["id"]: p for p in verdict["proofs"]}


def test_a_sound_incident_passes_every_proof(tmp_path: Path) -> None:
    done = aiopslab("check", "archive-port", "-n", "2", "--json", "--display", "none", cwd=tmp_path)
    found = proofs(done.stdout)
    assert [p for p in found.values() if not p["holds"]] == []
    assert {"twin", "twin-quiet", "leak", "idle", "fix", "repeat"} <= set(found)
    assert len([p for p in found if p.startswith("cheat-")]) == 5


@pytest.mark.parametrize(
    ("incident", "proof", "words"),
    [
        ("ready-is-enough", "idle", "outcome passed: every gating check passed"),
        ("tells-its-name", "leak", "tells-its-name"),
    ],
)
def test_a_planted_defect_is_found(tmp_path: Path, incident: str, proof: str, words: str) -> None:
    path = str(PLANTED / f"{incident}.yaml")
    done = aiopslab(
        "check", path, "-n", "2", "--json", "--display", "none", cwd=tmp_path, code=INVALID
    )
    found = proofs(done.stdout)
    assert not found[proof]["holds"]
    assert words in str(found[proof]["detail"])
    # The rest of the world is in order: it is this incident that is not sound.
    assert found["twin"]["holds"]
    assert found["repeat"]["holds"]


def test_a_fault_that_injects_nothing_is_found_and_told_to_people(tmp_path: Path) -> None:
    path = str(PLANTED / "injects-nothing.yaml")
    done = aiopslab("check", path, "-n", "2", "--display", "none", cwd=tmp_path, code=INVALID)
    assert re.search(r"NOT SOUND +injects-nothing", done.stdout)
    for proof in ("idle", "fix", "leak", "repeat", "cheat-delete"):
        assert f"injects-nothing: {proof}: symptom: not seen within" in done.stdout
    assert done.stdout.rstrip().endswith("0 of 1 incidents are sound")


def test_margins_are_measured_once_and_kept(tmp_path: Path) -> None:
    command = ("check", "archive-port", "--margins", "margins.jsonl", "--seeds", "0", "-n", "1")
    first = aiopslab(*command, "--json", "--display", "plain", cwd=tmp_path)
    assert "[1/1]" in first.stderr
    data = json.loads(first.stdout)["data"]
    assert data["failed"] == []
    (row,) = data["rows"]
    # Every read fails; the gate wants one in ten. The twin is far below that.
    assert row["faulty_min"] > 2
    assert row["twin_min"] is None or row["twin_min"] > 2
    again = aiopslab(*command, "--json", "--display", "plain", cwd=tmp_path)
    assert again.stdout == first.stdout
    assert again.stderr == ""
