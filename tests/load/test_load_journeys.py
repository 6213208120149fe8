"""What users ask for."""

import random
from collections import Counter

import pytest

from aiopslab.errors import UsageError
from aiopslab.load.journeys import Script, compile_draw
from aiopslab.models.journey import Journey
from aiopslab.seeds import Streams


def journey(**fields: object) -> Journey:
    base = {"entry": "web", "rate": 1.0, "steps": [{"request": "GET /a"}]}
    return Journey.model_validate({**base, **fields})


def test_a_zipf_draw_prefers_low_ranks_in_proportion() -> None:
    draw, stream = compile_draw({"zipf": {"n": 3, "s": 1.0}}), random.Random(1)
    seen = Counter(draw(stream) for _ in range(20_000))
    assert set(seen) == {"1", "2", "3"}
    assert seen["1"] / seen["2"] == pytest.approx(2.0, rel=0.1)
    assert seen["1"] / seen["3"] == pytest.approx(3.0, rel=0.1)


def test_an_int_draw_includes_both_ends_and_a_choice_every_value() -> None:
    stream = random.Random(1)
    assert {compile_draw({"int": [1, 3]})(stream) for _ in range(100)} == {"1", "2", "3"}
    assert {compile_draw({"choice": ["x", 7]})(stream) for _ in range(100)} == {"x", "7"}
    assert compile_draw(5)(stream) == "5"


@pytest.mark.parametrize("spec", [{"zipf": {"n": 0, "s": 1}}, {"choice": []}, {"int": [3, 1]}, {}])
def test_a_malformed_draw_is_the_users_mistake(spec: object) -> None:
    with pytest.raises(UsageError, match="is not a draw"):
        compile_draw(spec)


def test_a_malformed_request_names_the_journey() -> None:
    with pytest.raises(UsageError, match=r"'buy'.*'/a' is not a request"):
        Script("buy", journey(steps=[{"request": "/a"}]), Streams(1))


def test_a_session_has_every_step_and_pauses_between_them() -> None:
    steps = [{"request": "GET /a", "params": {"n": {"int": [1, 9]}}}, {"request": "POST /b"}]
    visits = Script("j", journey(steps=steps, think_s=2.0), Streams(1)).session()
    assert [(v.method, v.path) for v in visits] == [("GET", "/a"), ("POST", "/b")]
    assert visits[0].think_s == 0.0
    assert visits[1].think_s > 0.0
    assert visits[0].params["n"] in set("123456789")


def test_what_a_journey_draws_for_itself_is_the_same_in_each_request_of_a_session() -> None:
    shared = {"who": {"int": [1, 1000]}}
    steps = [{"request": "GET /a"}, {"request": "POST /b", "params": {"n": 7}}]
    script = Script("j", journey(params=shared, steps=steps), Streams(1))
    sessions = [script.session() for _ in range(20)]
    assert all(first.params["who"] == second.params["who"] for first, second in sessions)
    assert len({first.params["who"] for first, _ in sessions}) > 15
    assert sessions[0][1].params["n"] == "7"


def test_two_scripts_of_one_seed_draw_the_same_sessions() -> None:
    steps = [{"request": "GET /a", "params": {"n": {"zipf": {"n": 50, "s": 1.1}}}}]
    one, two = (Script("j", journey(steps=steps), Streams(4)) for _ in range(2))
    assert [one.session() for _ in range(20)] == [two.session() for _ in range(20)]


def test_quantiles_are_met_by_what_is_drawn() -> None:
    draw = compile_draw({"quantiles": [[0, 10], [0.5, 100], [0.95, 900], [1, 1000]]})
    stream = random.Random(5)
    drawn = sorted(int(draw(stream)) for _ in range(4000))
    assert 10 <= drawn[0] <= drawn[-1] <= 1000
    assert abs(drawn[2000] - 100) < 8
    assert abs(drawn[3800] - 900) < 40


@pytest.mark.parametrize(
    "points", [[[0, 1]], [[0, 5], [1, 2]], [[0.1, 1], [1, 2]], [[0, 0], [1, 2]], [[0, 1], [2]]]
)
def test_quantiles_that_are_no_distribution_are_refused(points: list[list[float]]) -> None:
    with pytest.raises(UsageError):
        compile_draw({"quantiles": points})
