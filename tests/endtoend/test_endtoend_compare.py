"""Doing nothing against the reference fix: the widest difference there is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from endtoend_cli import SUITE, aiopslab

pytestmark = pytest.mark.slow

SEED = "2"
"""No detection problem draws its twin, of which noop would be right to say no."""


def test_from_noop_to_oracle_every_problem_flips_and_the_way_back_fails_the_gate(
    tmp_path: Path,
) -> None:
    for agent in ("noop", "oracle"):
        aiopslab(
            "run", SUITE, "-a", agent, "--name", agent, "--seed", SEED, "-q",
            "--no-telemetry", cwd=tmp_path,
        )  # fmt: skip
    noop, oracle = "runs/noop", "runs/oracle"
    done = aiopslab("compare", noop, oracle, "--json", "--fail-if-worse", cwd=tmp_path)
    found = json.loads(done.stdout)["data"]
    assert found["overall"]["n"] == found["overall"]["gained"] == len(found["flips"]) == 8
    assert found["coverage"] == 1.0
    assert found["unpaired"] == found["locks"] == found["worse"] == []
    assert found["better"] == ["all"]
    aiopslab("compare", oracle, noop, "--fail-if-worse", cwd=tmp_path, code=6)
    same = aiopslab("compare", noop, noop, "--fail-if-worse", cwd=tmp_path)
    assert "no pair flips" in same.stdout
