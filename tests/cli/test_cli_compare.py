"""Comparing runs from the command line, on an in-memory lab."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import LAB


@pytest.fixture
def noop_and_oracle(aiopslab):
    """Two finished runs of eight trials each, none of which noop passes."""
    for agent in ("noop", "oracle"):
        ended = aiopslab("run", "one", "two", *LAB, "-a", agent, "--name", agent, "-n", "1", "-q")
        assert ended.code == 0, ended.err
    return "runs/noop", "runs/oracle"


def test_the_gate_opens_for_what_is_better_and_exits_6_for_what_is_worse(aiopslab, noop_and_oracle):
    noop, oracle = noop_and_oracle
    better = aiopslab("compare", noop, oracle, "--fail-if-worse")
    assert better.code == 0
    assert "B is better after Holm's correction at 0.05: all" in better.out
    worse = aiopslab("compare", oracle, noop, "--fail-if-worse")
    assert worse.code == 6
    assert "B is worse after Holm's correction at 0.05: all" in worse.out
    assert sum(line.startswith("lost    ") for line in worse.out.splitlines()) == 8
    assert "lost    one-mitigation  seed 0  passed -> failed" in worse.out
    # Whether the command fails is the caller's choice; bad scores alone are no failure.
    assert aiopslab("compare", oracle, noop).code == 0
    same = aiopslab("compare", oracle, oracle, "--fail-if-worse")
    assert same.code == 0
    assert "no pair flips" in same.out
    assert "no significant difference" in same.out
    assert "would be missed more often than in one of five cases" in same.out


def test_a_gate_that_cannot_tell_does_not_open(aiopslab, finished):
    assert aiopslab("compare", finished, finished).code == 0
    ended = aiopslab("compare", finished, finished, "--fail-if-worse")
    assert ended.code == 6
    assert "undecided: 4 pairs cannot show it, even if B failed in all" in ended.out


def test_a_comparison_is_one_document_when_asked_for(aiopslab, finished):
    ended = aiopslab("compare", finished, finished, "--json")
    assert ended.document["schema"] == "aiopslab/comparison@1"
    data = ended.document["data"]
    assert data["schema"] == "aiopslab/comparison@1"
    assert data["a"] == data["b"]
    assert (data["overall"]["n"], data["flips"], data["worse"]) == (4, [], [])
    assert ended.out.count("\n\n") == 0


def test_what_differs_and_what_has_no_partner_is_told(aiopslab, finished):
    other = Path("runs/other")
    shutil.copytree(finished, other)
    lock = json.loads((other / "lock.json").read_text(encoding="utf-8"))
    (other / "lock.json").write_text(json.dumps(lock | {"rules": "0" * 64}), encoding="utf-8")
    (other / "trials/one-mitigation__1/trial.json").unlink()
    ended = aiopslab("compare", finished, str(other))
    assert "lock differs: rules: " in ended.out
    assert "paired 3: 75% of what both were asked" in ended.out
    assert "not paired, unfinished in B: 1: one-mitigation (seed 0)" in ended.out


def test_a_mistake_is_one_line_with_what_to_type(aiopslab, finished):
    ended = aiopslab("compare", finished, finished, "--agent-b", "react", "--fail-if-worse")
    assert ended.code == 2
    assert "--agent-b: 'react' did not play in 'runs/done'" in ended.err
    assert "Traceback" not in ended.err
    assert aiopslab("compare", finished, "runs/nosuch").code == 2
