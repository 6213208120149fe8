"""Rules against ``promtool``: our files pass its check, and alerts go through the same states.

``promtool test rules`` runs Prometheus' own rule manager over given series and compares with what
is expected at each instant; we hand it what our evaluator said. Skipped where it is missing.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from aiopslab import content
from aiopslab.telemetry.annotations import render
from aiopslab.telemetry.promql.answers import format_value
from aiopslab.telemetry.rules import Rule, RuleEvaluator, RuleGroup
from aiopslab.telemetry.store import Store

PACE_S = 30
STEPS = 24
SCENARIOS = 6
Levels = dict[str, list[float | None]]
RULES = [
    *(
        {
            "alert": f"High{wait}{keep}", "expr": "level > 5", "for": f"{wait}s",
            **({"keep_firing_for": f"{keep}s"} if keep else {}),
            "labels": {"severity": "warning", "team": "of-{{ $labels.pod }}"},
            "annotations": {"summary": "{{ $labels.pod }} at {{ $value }}"},
        }
        for wait, keep in ((0, 0), (30, 0), (60, 0), (90, 0), (0, 60), (60, 90))
    ),
    {"record": "level:sum", "expr": "sum(level)", "labels": {"kind": "total"}},
    {"record": "level:ratio", "expr": "level / on () group_left () level:sum"},
    {"alert": "SumHigh", "expr": "level:sum > 14", "for": "30s"},
    {"alert": "Gone", "expr": 'absent(level{pod="a"})', "for": "60s"},
]  # fmt: skip


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool on PATH; Debian's package 'prometheus' has it")
    return found


def test_our_rule_files_pass_the_check_of_promtool(promtool: str) -> None:
    files = [str(path) for path in content.files("telemetry", "rules/*.yaml")]
    done = subprocess.run([promtool, "check", "rules", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_and_recorded_series_go_as_prometheus_lets_them_go(
    promtool: str, tmp_path: Path
) -> None:
    rng = random.Random(3)
    scenarios = [{pod: _walk(rng) for pod in ("a", "b", "c")} for _ in range(SCENARIOS)]
    _write(tmp_path / "rules.yml", {"groups": [{"name": "g", "rules": RULES}]})
    tests = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": f"{PACE_S}s",
        "tests": [_expected(levels) for levels in scenarios],
    }
    _write(tmp_path / "tests.yml", tests)
    _promtool(promtool, tmp_path / "tests.yml")
    assert sum(bool(a["exp_alerts"]) for t in tests["tests"] for a in t["alert_rule_test"]) > 60


def test_templates_are_rendered_as_prometheus_renders_them(promtool: str, tmp_path: Path) -> None:
    filters = ("humanize", "humanize1024", "humanizePercentage", "humanizeDuration",
               'printf "%.2f"', 'printf "%g"', 'printf "%6.1e"')  # fmt: skip
    templates = {f"t{i}": f"{{{{ $value | {name} }}}}" for i, name in enumerate(filters)}
    templates["plain"] = "{{ $value }} of {{ $labels.n }}{{ .Labels.nosuch }}"
    _write(
        tmp_path / "rules.yml",
        {
            "groups": [
                {"name": "g", "rules": [{"alert": "A", "expr": "v", "annotations": templates}]}
            ]
        },
    )
    values = (0.0, 1.0, -3.7, 1 / 3, 0.0315, 1.23e-4, 1e-7, 59.5, 60.0, -90.0, 999.5, 3725.0,
              9e4, 123456.0, 999999.0, 1e6, 1048576.0, 1234567.891, 1e9, 2.5e12,
              1e15, 7e-20)  # fmt: skip
    tests = [
        {
            "interval": f"{PACE_S}s",
            "input_series": [{"series": f'v{{n="{i}"}}', "values": repr(value)}],
            "alert_rule_test": [
                {"eval_time": "0s", "alertname": "A", "exp_alerts": [
                    {"exp_labels": {"n": str(i)},
                     "exp_annotations": {k: render(t, {"n": str(i)}, value)
                                         for k, t in templates.items()}}
                ]}
            ],
        }
        for i, value in enumerate(values)
    ]  # fmt: skip
    everything = {"rule_files": ["rules.yml"], "evaluation_interval": "30s", "tests": tests}
    _write(tmp_path / "tests.yml", everything)
    _promtool(promtool, tmp_path / "tests.yml")


def _promtool(promtool: str, tests: Path) -> None:
    done = subprocess.run([promtool, "test", "rules", str(tests)], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[:4000]


def _write(path: Path, data: Any) -> None:
    path.write_text(yaml.safe_dump(data), encoding="utf-8")


def _walk(rng: random.Random) -> list[float | None]:
    """Return levels that stay above or below 5 for a while, and sometimes are not there."""
    levels: list[float | None] = []
    while len(levels) < STEPS:
        kind = rng.choice(("low", "high", "high", "gone"))
        for _ in range(rng.randint(1, 5)):
            value = float(rng.randint(1, 4) if kind == "low" else rng.randint(6, 9))
            levels.append(None if kind == "gone" else value)
    return levels[:STEPS]


def _expected(levels: Levels) -> dict[str, Any]:
    """Run our evaluator over a scenario and write down what it says, as promtool's test."""
    store = Store()
    evaluator = RuleEvaluator(
        store, [RuleGroup(name="g", rules=[Rule.model_validate(rule) for rule in RULES])]
    )
    columns = {pod: store.samples.column("level", (("pod", pod),)) for pod in levels}
    alert_tests: list[dict[str, Any]] = []
    expression_tests: list[dict[str, Any]] = []
    for step in range(STEPS):
        row = store.samples.row(float(step * PACE_S))
        for pod, values in levels.items():
            if values[step] is not None:
                row[columns[pod]] = values[step]
        evaluator.evaluate(float(step * PACE_S))
        assert {r.health for g in evaluator.groups() for r in g.rules} == {"ok"}
        at = f"{step * PACE_S}s"
        alert_tests.extend(
            {"eval_time": at, "alertname": rule["alert"],
             "exp_alerts": _firing(evaluator, str(rule["alert"]))}
            for rule in RULES if "alert" in rule
        )  # fmt: skip
        for name in ("ALERTS", "level:sum", "level:ratio"):
            samples = [
                {"labels": _text(s.labels), "value": s.points[0][1]}
                for s in store.promql.instant(name, float(step * PACE_S))
            ]
            expression_tests.append({"eval_time": at, "expr": name, "exp_samples": samples})
    return {
        "interval": f"{PACE_S}s",
        "input_series": [
            {"series": f'level{{pod="{pod}"}}', "values": _values(values)}
            for pod, values in levels.items()
        ],
        "alert_rule_test": alert_tests,
        "promql_expr_test": expression_tests,
    }


def _firing(evaluator: RuleEvaluator, name: str) -> list[dict[str, Any]]:
    return [
        {
            "exp_labels": {k: v for k, v in alert.labels.items() if k != "alertname"},
            "exp_annotations": alert.annotations,
        }
        for alert in evaluator.alerts()
        if alert.name == name and alert.state == "firing"
    ]


def _text(labels: Any) -> str:
    pairs = ", ".join(f'{k}="{v}"' for k, v in sorted(labels.items()) if k != "__name__")
    return f"{labels['__name__']}{{{pairs}}}"


def _values(values: list[float | None]) -> str:
    return " ".join("stale" if value is None else format_value(value) for value in values)
