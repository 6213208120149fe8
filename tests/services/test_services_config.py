from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.app import App
from aiopslab.services import templates
from aiopslab.services.config import ClientPolicy, Config, ConfigError, settings


def test_settings_hold_addresses_and_what_the_app_declares(app: App) -> None:
    assert settings(app, "web")["STOCK_ADDR"] == "stock:8080"
    assert settings(app, "stock") == {
        "DB_HOST": "stock-postgres",
        "DB_PORT": "5432",
        "DB_NAME": "stock",
        "CACHE_ADDR": "stock-valkey:6379",
        "CACHE_TTL_S": "60",
        "ACCESS_LOG_RATIO": "1",
    }


def test_a_client_policy_has_sensible_defaults() -> None:
    policy = ClientPolicy.read(Config({"ROOM_RATES_ADDR": "room-rates:80"}), "room-rates")
    assert (policy.host, policy.port, policy.timeout_s) == ("room-rates", 80, 1.0)
    assert (policy.retries, policy.backoff_s, policy.breaker_errors) == (1, 0.05, 0)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda c: c.integer("K"), "1.5"),
        (lambda c: c.integer("K", least=1), "0"),
        (lambda c: c.number("K"), "nan"),
        (lambda c: c.number("K"), "-1"),
        (lambda c: c.boolean("K", True), "yes"),
        (lambda c: c.address("K"), "host"),
        (lambda c: c.address("K"), ":80"),
        (lambda c: c.address("K"), "host:\u00b2"),
        (lambda c: c.address("K"), "host:" + "9" * 5000),
        (lambda c: c.integer("K", most=10_000), "1000000000"),
    ],
)
def test_a_value_of_the_wrong_type_names_its_key(read, value: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError) as caught:
        read(Config({"K": value}))
    assert (caught.value.key, caught.value.value) == ("K", value)


def test_a_missing_key_has_no_value() -> None:
    with pytest.raises(ConfigError) as caught:
        Config({}).text("K")
    assert caught.value.value is None


words = st.text("abcxyz", min_size=1, max_size=5)


@given(
    parts=st.lists(st.tuples(st.text("ab:-/ ", max_size=4), words), max_size=4),
    values=st.dictionaries(words, st.text(max_size=6), max_size=6),
)
def test_a_template_renders_like_format(
    parts: list[tuple[str, str]], values: dict[str, str]
) -> None:
    template = "".join(f"{fixed}{{{name}}}" for fixed, name in parts)
    assert templates.names(template) == {name for _, name in parts}
    params = {name: "v" for _, name in parts} | values
    assert templates.text(template)(params) == template.format(**params)
