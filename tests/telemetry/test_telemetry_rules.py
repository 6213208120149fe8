"""Alert rules: files, states, templates; and the metric catalogue."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from aiopslab.errors import ContentError
from aiopslab.telemetry import catalogue
from aiopslab.telemetry.annotations import TemplateError, check, render
from aiopslab.telemetry.rules import Rule, RuleEvaluator, RuleGroup, load_rules
from aiopslab.telemetry.store import Store


def rule(expr: str = "level > 5", **other: object) -> Rule:
    return Rule.model_validate(
        {
            "alert": "LevelHigh", "expr": expr, "for": "60s", "labels": {"severity": "warning"},
            "annotations": {"summary": "{{ $labels.pod }} at {{ $value | humanize }}"}, **other,
        }
    )  # fmt: skip


class World:
    """A store with one gauge, evaluated every 30 s."""

    def __init__(self, *rules: Rule) -> None:
        self.store = Store()
        self.evaluator = RuleEvaluator(self.store, [RuleGroup(name="g", rules=list(rules))])
        self.now = 0.0

    def step(self, **levels: float) -> list[tuple[str, str]]:
        """Let 30 s pass with the given level a pod; returns (pod, state)."""
        self.now += 30.0
        target = self.store.target({"job": "a"})
        columns = [target.column("level", (("pod", pod),)) for pod in levels]
        target.write(self.now, columns, list(levels.values()))
        self.evaluator.evaluate(self.now)
        return [(a.labels.get("pod", ""), a.state) for a in self.evaluator.alerts()]


def test_an_alert_is_pending_then_firing_then_resolved() -> None:
    world = World(rule())
    assert world.step(x=1.0) == []
    assert world.step(x=9.0) == [("x", "pending")]
    assert world.step(x=9.0) == [("x", "pending")]
    assert world.step(x=8.0) == [("x", "firing")]
    assert world.step(x=2.0) == []
    [resolved] = world.evaluator.alerts(include_resolved=True)
    assert (resolved.active_at, resolved.fired_at, resolved.resolved_at) == (60.0, 120.0, 150.0)
    assert resolved.annotations == {"summary": "x at 8"}
    assert (resolved.name, resolved.severity) == ("LevelHigh", "warning")
    states = [(time, a.state) for time, a in world.store.alert_transitions()]
    assert states == [(60.0, "pending"), (120.0, "firing"), (150.0, "resolved")]


def test_a_pending_alert_that_goes_away_was_never_there() -> None:
    world = World(rule())
    world.step(x=9.0)
    assert world.step(x=1.0) == []
    assert world.evaluator.alerts(include_resolved=True) == []
    assert world.step(x=9.0) == [("x", "pending")]


def test_without_for_an_alert_fires_at_once() -> None:
    world = World(rule(**{"for": 0}))
    assert world.step(x=9.0) == [("x", "firing")]
    assert [a.state for _, a in world.store.alert_transitions()] == ["firing"]


def test_each_series_is_an_alert_of_its_own() -> None:
    world = World(rule(**{"for": "30s"}))
    world.step(y=9.0)
    assert world.step(x=9.0, y=9.0) == [("x", "pending"), ("y", "firing")]


def test_keep_firing_for_bridges_a_gap() -> None:
    world = World(rule(**{"for": 0, "keep_firing_for": "60s"}))
    world.step(x=9.0)
    assert world.step(x=1.0) == [("x", "firing")]
    assert world.step(x=1.0) == [("x", "firing")]
    assert world.step(x=1.0) == []


def test_alerts_are_series_too() -> None:
    world = World(rule(**{"for": "30s"}))
    world.step(x=9.0)
    [series] = world.store.promql.instant("ALERTS", world.now)
    assert series.labels["alertstate"] == "pending"
    world.step(x=9.0)
    found = world.store.promql.instant('ALERTS{alertname="LevelHigh"}', world.now)
    assert [s.labels["alertstate"] for s in found] == ["firing"]
    world.step(x=1.0)
    assert world.store.promql.instant("ALERTS", world.now) == []


def test_a_rule_that_fails_says_so_and_keeps_its_alerts_while_the_others_go_on() -> None:
    world = World(
        rule("level * on (job) group_left () level > 0", **{"for": 0}),
        rule(alert="Other", **{"for": 0}),
    )
    assert world.step(x=9.0) == [("x", "firing"), ("x", "firing")]
    world.step(x=1.0, y=9.0)
    [failed, other] = world.evaluator.groups()[0].rules
    assert (failed.health, failed.state) == ("err", "firing")
    assert "many-to-many" in failed.last_error
    assert (other.health, other.state, other.last_error) == ("ok", "firing", "")
    world.step(x=9.0)
    assert [r.health for r in world.evaluator.groups()[0].rules] == ["ok", "ok"]


def test_recorded_series_stand_until_the_next_evaluation_and_feed_later_rules() -> None:
    record = Rule(record="level:sum", expr="sum(level)", labels={"team": "edge"})
    world = World(record, rule("level:sum > 5", annotations={}, **{"for": 0}))
    world.step(x=4.0, y=3.0)
    [recorded] = world.store.promql.instant("level:sum", world.now)
    assert (recorded.labels, recorded.points) == (
        {"__name__": "level:sum", "team": "edge"},
        [(30.0, 7.0)],
    )
    assert [a.labels["team"] for a in world.evaluator.alerts()] == ["edge"]
    world.step(x=1.0)
    assert world.store.promql.instant("level:sum", world.now)[0].points == [(60.0, 1.0)]
    assert world.evaluator.alerts() == []


def test_a_recorded_value_may_be_no_number() -> None:
    world = World(Rule(record="ratio", expr="level / level"))
    world.step(x=0.0)
    [series] = world.store.promql.instant("ratio", world.now)
    assert math.isnan(series.points[0][1])
    assert world.store.promql.instant("count_over_time(ratio[1m])", world.now)[0].points[0][1] == 1


def test_recording_rules_that_make_one_series_twice_are_in_error() -> None:
    world = World(Rule(record="r", expr="level", labels={"pod": "same"}))
    world.step(x=1.0, y=2.0)
    status = world.evaluator.groups()[0].rules[0]
    assert "same labelset after applying rule labels" in status.last_error


def test_groups_show_rules_with_state_and_health() -> None:
    world = World(rule(), Rule(record="r", expr="sum(level)"))
    [group] = world.evaluator.groups()
    assert (group.name, group.interval_s, group.last_evaluation) == ("g", 30.0, None)
    assert [(r.rule.kind, r.health, r.state) for r in group.rules] == [
        ("alerting", "unknown", "inactive"),
        ("recording", "unknown", "inactive"),
    ]
    world.step(x=9.0)
    [group] = world.evaluator.groups()
    assert [(r.rule.name, r.health, r.state) for r in group.rules] == [
        ("LevelHigh", "ok", "pending"),
        ("r", "ok", "inactive"),
    ]
    assert group.last_evaluation == group.rules[0].last_evaluation == 30.0
    assert group.rules[0].alerts[0].value == 9.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"alert": "A", "record": "r"}, "exactly one of"),
        ({}, "exactly one of"),
        ({"record": "r", "for": "1m"}, "invalid field 'for' in recording rule"),
        ({"record": "r", "annotations": {"a": "b"}}, "invalid field 'annotations'"),
        ({"record": "not a name"}, "invalid recording rule name"),
        ({"record": "r", "labels": {"a-b": "c"}}, "invalid label name"),
        ({"alert": "A", "labels": {"__name__": "c"}}, "invalid label name"),
    ],
)
def test_rules_that_prometheus_refuses_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rule.model_validate({"expr": "up", **fields})


def test_a_rule_that_does_not_parse_is_refused_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "telemetry" / "rules"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "groups:\n  - name: g\n    rules:\n      - {alert: A, expr: 'sum('}\n", encoding="utf-8"
    )
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(tmp_path))
    with pytest.raises(
        ContentError, match=r"mine.yaml:4: .*1:5: parse error: unclosed left parenthesis"
    ):
        load_rules()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ $value }}", "0.25"),
        ("{{$value|humanizePercentage}} of {{ .Labels.pod }}", "25% of x"),
        ('{{ $value | printf "%.1f" }}', "0.2"),
        ("{{ $labels.nosuch }}", ""),
        ("{{ $value | humanizeDuration }}", "250ms"),
    ],
)
def test_templates_render_labels_and_values(text: str, expected: str) -> None:
    assert render(text, {"pod": "x"}, 0.25) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (59.5, "59.5s"),
        (90.0, "1m 30s"),
        (90061.0, "1d 1h 1m 1s"),
        (float("inf"), "+Inf"),
        (0.0, "0s"),
        (1.5e-5, "15us"),
    ],
)
def test_durations_are_written_as_people_do(value: float, expected: str) -> None:
    assert render("{{ $value | humanizeDuration }}", {}, value) == expected


def test_humanize_uses_prefixes() -> None:
    assert render("{{ $value | humanize }}", {}, 1_234_567.0) == "1.235M"
    assert render("{{ $value | humanize1024 }}", {}, 64.0 * 2**20) == "64Mi"


@pytest.mark.parametrize("text", ["{{ query }}", "{{ $value | title }}", "{{ range .X }}"])
def test_templates_beyond_the_known_are_refused(text: str) -> None:
    with pytest.raises(TemplateError, match="not supported"):
        check(text)


def test_our_rules_load_and_evaluate_on_an_empty_store_without_an_alert() -> None:
    groups = load_rules()
    assert sum(len(group.rules) for group in groups) >= 18
    evaluator = RuleEvaluator(Store(), groups)
    evaluator.evaluate(0.0)
    assert evaluator.alerts() == []
    assert {r.health for g in evaluator.groups() for r in g.rules} == {"ok"}
    assert [g.file for g in groups[:1]] == ["rules/app.yaml"]


def test_every_metric_a_rule_asks_for_is_in_the_catalogue() -> None:
    import promql_parser

    def names(node: object) -> set[str]:
        found = {node.name} if isinstance(node, promql_parser.VectorSelector) else set()
        for part in ("expr", "lhs", "rhs", "vector_selector"):
            if (child := getattr(node, part, None)) is not None:
                found |= names(child)
        for child in getattr(node, "args", None) or ():
            found |= names(child)
        return found

    rules = [rule for group in load_rules() for rule in group.rules]
    recorded = {rule.record for rule in rules}
    for known in rules:
        for name in names(promql_parser.parse(known.expr)):
            assert name in recorded or catalogue.metadata(name), f"{known.name}: {name}"


def test_the_series_of_a_histogram_share_its_metadata() -> None:
    family = catalogue.metadata("http_server_request_duration_seconds")
    assert family["type"] == "histogram"
    assert catalogue.metadata("http_server_request_duration_seconds_bucket") == family
    assert catalogue.metadata("up_count") == {}
    assert catalogue.metadata("nosuch") == {}
