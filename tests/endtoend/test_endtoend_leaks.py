"""Nothing that an agent can read names the fault: tools, objects, logs, metrics, variables."""

from __future__ import annotations

import pytest
from endtoend_reading import answering, read_everything, staged, texts

from aiopslab.models.context_profile import ContextChoice
from aiopslab.orchestrator.leaks import Snoop, environments, objects, telemetry
from aiopslab.tools import briefing
from aiopslab.tools.context import ToolContext

SPOKEN = ("release-errors", "database-grant-revoked", "network-policy-denied", "service-selector")


def leaks(incident: str, seed: int) -> list[str]:
    """Read a world at hand-over in every way there is; return what speaks, with its place."""
    world = staged(incident, seed)
    snoop = Snoop(world)

    async def read() -> list[str]:
        seen = await read_everything(world.env)
        assert {o.tool for o in seen if o.ok} == answering(world.env)
        found = [f"{o.tool} {o.arguments}: {h}" for o in seen for h in snoop.scan([o.text])]
        found += [f"tools: {hit}" for hit in snoop.scan(texts(seen, world.env))]
        for page in (world.page, None):
            choice = ContextChoice(profile="P5", delivery="push", tokens=100_000)
            said = await briefing.block(ToolContext(world.env, "diagnosis", choice), page)
            found += [f"pushed: {hit}" for hit in snoop.scan([said])]
        rest = [*await objects(world.env), *await telemetry(world.env)]
        for where, lines in [*rest, *await environments(world.env)]:
            found += [f"{where}: {hit}" for hit in snoop.scan(lines)]
        return found

    return world.env.run_sync(read())  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("incident", ["archive-port", "archive-away"])
def test_a_small_world_does_not_speak(kiosk_content: None, incident: str) -> None:
    assert leaks(incident, 1) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("incident", SPOKEN)
def test_the_hotel_does_not_speak(incident: str) -> None:
    assert leaks(incident, 2) == []


def test_the_reader_hears_a_leak(kiosk_content: None) -> None:
    world = staged("archive-away", 1)
    snoop = Snoop(world)
    for word in ("archive-away", "workload/scaled-to-zero", "Fault", "chaos-mesh", "simulated"):
        assert list(snoop.scan([f"a line with {word} in it"])), word
    for word in ("default", "archive", "scaled_to_zero", "scaled up replica set"):
        assert not list(snoop.scan([f"a line with {word} in it"])), word
