"""Plans of the pool: forecasts by the hour, and the cheapest engines that carry them."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.services.catalogue import load_app
from aiopslab.services.config import Config, ConfigError, settings
from aiopslab.services.llm import autoscaler, power_mgr
from aiopslab.services.llm.planning import Unit, forecast, local_hour, offset_s, plan

POOL = [
    Unit("a0", "a", 4000.0, 1.0),
    Unit("a1", "a", 4000.0, 1.0),
    Unit("b0", "b", 4000.0, 1.0),
    Unit("b1", "b", 1900.0, 0.55),
    Unit("c0", "c", 4000.0, 1.0),
    Unit("c1", "c", 1900.0, 0.55),
]
NAMES = [u.name for u in POOL]
NINE_UTC = 1_776_157_200.0


def test_an_hour_is_local_to_the_offset() -> None:
    assert local_hour(NINE_UTC, offset_s("+00:00")) == 9
    assert local_hour(NINE_UTC, offset_s("+02:00")) == 11
    assert local_hour(NINE_UTC, offset_s("-10:30")) == 22


@pytest.mark.parametrize("text", ["", "2", "+2:00", "+02:60", "+24:00", "Europe/Berlin", "+02:00 "])
def test_what_is_no_offset_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no offset"):
        offset_s(text)


def test_a_forecast_holds_in_the_middle_of_its_hour_and_is_interpolated_between() -> None:
    profile = [float(hour) for hour in range(24)]
    assert forecast(profile, NINE_UTC + 1800.0, 0.0) == pytest.approx(9.0)
    assert forecast(profile, NINE_UTC + 3600.0, 0.0) == pytest.approx(9.5)
    assert forecast(profile, NINE_UTC + 15 * 3600.0, 0.0) == pytest.approx(11.5)  # 23 to 0


@given(
    need=st.floats(0.0, 30000.0),
    bounds=st.tuples(st.integers(1, 6), st.integers(1, 6)).map(sorted),
    running=st.lists(st.sampled_from(NAMES), unique=True),
)
def test_a_plan_is_the_cheapest_of_those_that_suffice(
    need: float, bounds: list[int], running: list[str]
) -> None:
    least, most = bounds
    chosen = plan(POOL, need, least=least, most=most, running=running)
    units = [u for u in POOL if u.name in chosen]
    assert least <= len(chosen) <= most
    assert chosen == [u.name for u in units]
    carried = sum(u.tps for u in units)
    others = [s for n in range(least, most + 1) for s in combinations(POOL, n)]
    able = [s for s in others if sum(u.tps for u in s) >= need]
    if not able:
        assert carried == max(sum(u.tps for u in s) for s in others)
        return
    assert carried >= need
    regions = max(len({u.region for u in s}) for s in able)
    assert len({u.region for u in units}) == regions
    wide = [s for s in able if len({u.region for u in s}) == regions]
    assert sum(u.cost for u in units) == pytest.approx(min(sum(u.cost for u in s) for s in wide))


def test_engines_that_run_win_where_the_cost_is_the_same() -> None:
    for running in ("a0", "a1"):
        assert running in plan(POOL, 7000.0, least=3, most=6, running=[running])


def test_the_app_runs_every_engine_through_the_day() -> None:
    """The hours a world may begin in, and one and a half more."""
    config = Config(settings(load_app("llmserve"), "autoscaler"))
    read = autoscaler.Settings.read(config)
    for minute in range(-60, 7 * 60 + 30):
        tps = forecast(read.profile, NINE_UTC + minute * 60.0, read.offset_s)
        assert len(plan(POOL, tps * read.margin, least=read.least, most=read.most)) == 6


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SCALE_TZ", "CEST"),
        ("SCALE_PROFILE_TPS", "1,2,3"),
        ("SCALE_MODE", "auto"),
        ("SCALE_MIN", "0"),
    ],
)
def test_keys_of_the_autoscaler_that_cannot_be_read_are_refused(key: str, value: str) -> None:
    data = settings(load_app("llmserve"), "autoscaler") | {key: value}
    with pytest.raises(ConfigError) as refused:
        autoscaler.Settings.read(Config(data))
    assert refused.value.key == key


@pytest.mark.parametrize("text", ["row-a", "row-a=", "row-a=x", "row-a=0", "row-a=-5"])
def test_caps_of_rows_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        power_mgr.Settings.read(Config({"POWER_ROW_CAPS": text}))
