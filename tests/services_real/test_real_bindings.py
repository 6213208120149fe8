"""Both bindings of the app program against each other: the same requests, what both answer and
write.

Compared are status codes, the tree of spans of each request (services, kinds, names, errors and
attributes, numbers and addresses masked), and how often each template of a log line was written.
Bounds on latencies are wide: they say that both are of one order, not that a machine is quick.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from both import Chapter, Heard, journeys, real, settled, simulated

from aiopslab.models.app import App
from aiopslab.models.external import Disturbance
from aiopslab.models.network import Links, Shape

SESSIONS = 5
"""Of each journey, in the first chapter."""
LONGEST_S = 280.0
SLOWER, FASTER, SLACK_S = 10.0, 20.0, 0.5
"""A real median is below so many times the simulated one plus this; and above a part of it."""
NEVER_CLOSES = {"BREAKER_ERRORS": 3, "BREAKER_OPEN_MS": 3_600_000}
CHANGES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "hotel": {
        "reservation": {
            "CARDS_TIMEOUT_MS": 1500,
            **{f"CARDS_{key}": value for key, value in NEVER_CLOSES.items()},
        }
    },
    "shop": {
        "fraud": {
            "DEVICES_TIMEOUT_MS": 1500,
            "DEVICES_RETRIES": 1,
            **{f"DEVICES_{key}": value for key, value in NEVER_CLOSES.items()},
        }
    },
}
"""Settings that the story needs: partners whose slowness matters, and breakers."""
SLOW = Disturbance(latency_factor=10_000.0)


def hotel(app: App) -> list[Chapter]:
    search = [("GET", "/hotels", {"area": str(n), "day": "20", "language": "it"}) for n in (3, 4)]
    book = {"hotel": "7", "day": "3", "customer": "12"}
    return [
        Chapter("healthy", journeys(app, SESSIONS)),
        Chapter("partner slow", [("POST", "/reservations", book)] * 5, partner=("cards", SLOW)),
        Chapter("partner well, breaker open", [("POST", "/reservations", book)],
                partner=("cards", Disturbance())),
        Chapter("grant revoked", search,
                sql=("geo-postgres", "REVOKE SELECT ON hotels FROM geo")),
        Chapter("grant given back", search,
                sql=("geo-postgres", "GRANT SELECT ON hotels TO geo")),
        Chapter("link slow", search, links=Links(pairs={"search": {"geo": Shape(delay_s=0.3)}})),
        Chapter("dependency refuses", search, links=Links(), ended="profile"),
        # Were it healed, the simulated kernel would deliver what its client has given up.
        Chapter("link cut", search[:1], links=Links(pairs={"search": {"geo": Shape(cut=True)}})),
    ]  # fmt: skip


def shop(app: App) -> list[Chapter]:
    view = [("GET", "/product", {"product": str(n), "currency": "EUR"}) for n in (411, 412)]
    buy = [
        ("POST", "/checkout", {"customer": str(n), "product": "9", "country": "DE",
                               "currency": "EUR", "order": f"late-{n}"})
        for n in range(3)
    ]  # fmt: skip
    return [
        Chapter("healthy", journeys(app, SESSIONS)),
        Chapter("partner slow", buy, partner=("devices", SLOW)),
        Chapter("grant revoked", view,
                sql=("catalogue-postgres", "REVOKE SELECT ON products FROM catalogue")),
        Chapter("grant given back", view,
                sql=("catalogue-postgres", "GRANT SELECT ON products TO catalogue")),
        Chapter("dependency refuses", buy[:1], ended="orders"),
    ]  # fmt: skip


STORIES = {"hotel": hotel, "shop": shop}


@dataclass(frozen=True)
class Both:
    """What both sides told of one story."""

    app: App
    story: list[Chapter]
    simulated: Heard
    real: Heard


@pytest.fixture(scope="module", params=sorted(STORIES))
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
         ) -> Iterator[Both]:  # fmt: skip
    name: str = request.param
    folder: Path = tmp_path_factory.mktemp(name)

    async def bounded(app: App, story: list[Chapter]) -> Heard:
        async with asyncio.timeout(LONGEST_S):
            return await real(app, story)

    with settled(name, folder, CHANGES[name]) as app:
        story = STORIES[name](app)
        yield Both(app, story, simulated(app, story), asyncio.run(bounded(app, story)))


def test_both_answer_with_the_same_status(both: Both) -> None:
    assert both.real.statuses == both.simulated.statuses
    healthy = {status for title, _, status in both.real.statuses if title == "healthy"}
    assert healthy == {200}
    broken = {title for title, _, status in both.real.statuses if status >= 500}
    assert {"grant revoked", "dependency refuses"} <= broken
    if both.app.name == "hotel":
        assert "link cut" in broken
        assert "link slow" not in broken


def test_a_request_leaves_the_same_spans(both: Both) -> None:
    expected, found = both.simulated.shapes(both.story), both.real.shapes(both.story)
    for title, trees in expected.items():
        for number, tree in enumerate(trees):
            assert found[title][number] == tree, (title, number)


def test_services_write_the_same_lines_as_often(both: Both) -> None:
    expected, found = both.simulated.templates(both.app), both.real.templates(both.app)
    assert sorted((found - expected).items()) == sorted((expected - found).items()) == []
    for words in ("circuit breaker for", "retrying request to", "permission denied for table"):
        assert any(words in line for _, _, line in found), words


def test_both_take_time_of_one_order(both: Both) -> None:
    for request, simulated_s in both.simulated.latencies.items():
        expected = statistics.median(simulated_s)
        found = statistics.median(both.real.latencies[request])
        assert expected / FASTER < found < expected * SLOWER + SLACK_S, request
