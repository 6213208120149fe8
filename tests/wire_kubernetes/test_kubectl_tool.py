"""The ``kubectl`` tool and the real program say the same of the same world."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest
from api_served import hotel
from streams_lab import Ran, reason_to_skip, served

from aiopslab.models.observation import Observation
from aiopslab.tools import Toolbox, ToolContext

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip() or "present"),
]

SAME = [
    "get pods",
    "get pods -o wide",
    "get pods -A -l app.kubernetes.io/component=database",
    "get deploy,svc geo",
    "get all -l app.kubernetes.io/name=geo",
    "get nodes -o wide",
    "get deploy -o name",
    "get deploy geo -o yaml",
    "get deploy geo -o json",
    "get svc -l app.kubernetes.io/name=geo -o yaml",
    "get pods --show-labels -l app.kubernetes.io/name=geo",
    "get pods -L app.kubernetes.io/name --no-headers",
    "get pods --field-selector=status.phase=Running --sort-by=.metadata.name",
    "get pods --sort-by=.status.podIP -o custom-columns=NAME:.metadata.name,IP:.status.podIP",
    "get deploy -o custom-columns=N:.metadata.name,I:.spec.template.spec.containers[*].image",
    "get deploy geo -o jsonpath='{.spec.replicas}'",
    'get pods -o jsonpath=\'{range .items[*]}{.metadata.name}{"\\t"}{.status.phase}{"\\n"}{end}\'',
    "get deploy geo -o jsonpath='{.status.conditions[?(@.type==\"Available\")].status}'",
    "get cm,secret",
    "get events --field-selector=type=Warning",
    "get hpa,pvc,sts",
    "get pods -n kube-public",
    "get podz",
    "get pods nope",
    "get deploy/geo svc/nope",
    "get pods --bad-flag",
    "logs deploy/geo --tail=3",
    "logs deploy/geo --tail=2 --timestamps --prefix",
    "logs -l app.kubernetes.io/name=geo --tail=1",
    "logs nope",
    "exec deploy/geo -- sh -c 'hostname; cat /nowhere; exit 3'",
    "top pods",
    "top pods --containers -l app.kubernetes.io/name=geo",
    "top nodes",
    "rollout status deploy/geo",
    "rollout history deploy/geo",
    "auth can-i delete pods",
    "auth can-i delete nodes",
]
# The program walks a Go map of pods here, whose order differs from run to run.
ANY_ORDER = {"logs -l app.kubernetes.io/name=geo --tail=1"}
CHANGES = [
    "scale deploy/geo --replicas=3",
    "scale deploy/geo --replicas=4 --current-replicas=9",
    "set image deploy/geo geo=hotel-geo:9",
    "set image deploy/geo nope=hotel-geo:9",
    "set env deploy/geo A=1",
    "set resources deploy/geo --limits=cpu=300m",
    "label deploy geo x=y",
    "label deploy geo x=z",
    "label deploy geo x-",
    "annotate deploy geo note=hi",
    "rollout pause deploy/geo",
    "rollout resume deploy/geo",
    "rollout restart deploy/geo",
    'patch deploy geo -p \'{"spec":{"replicas":2}}\'',
    'patch deploy geo -p \'{"spec":{"replicas":2}}\'',
    "create configmap mine --from-literal=a=b",
    "create configmap mine --from-literal=a=b",
    "delete configmap mine",
    "delete configmap mine",
    "delete pod nope -n kube-system",
]


def normal(text: str) -> list[str]:
    """Return the lines, spaces at their ends left out, in the words of kubectl before 1.34."""
    text = re.sub(r"( deleted) from \S+ namespace$", r"\1", text.strip(), flags=re.MULTILINE)
    text = re.sub(r"^error: (unknown flag: )", r"Error: \1", text)
    return [line.rstrip() for line in text.splitlines()]


def same_lines(ran: Ran, seen: Observation, *, any_order: bool = False) -> None:
    """Compare what was printed; the program has two streams, the tool one text."""
    out, err = normal(ran.out), normal(ran.err)
    if any_order:
        assert sorted(normal(seen.text)) == sorted(out + err)
        return
    assert normal(seen.text) in (out + err, err + out)


async def both(home: Path, commands: list[str]) -> list[tuple[str, Ran, Observation]]:
    """Run commands by program and tool, each on a world of its own that stands still."""
    one, other = hotel(seconds=60.0), hotel(seconds=60.0)

    async def no_time(seconds: float) -> None:
        """Nothing passes: the program's world does not move either."""

    tool = Toolbox(ToolContext(other, "mitigation"), spend=no_time, limit=10_000_000)
    from aiopslab.wire.identity import on_call

    found = []
    async with served(one, home, on_call("oncall", "mitigation", "hotel"), factor=0.0) as lab:
        for command in commands:
            words = shlex.split(command)
            seen = await tool.call("kubectl", {"args": words})
            found.append((command, await lab.kubectl(*words), seen))
    await one.aclose()
    await other.aclose()
    return found


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Ran, Observation]]:
    found = asyncio.run(both(tmp_path_factory.mktemp("same"), SAME))
    return {command: (ran, seen) for command, ran, seen in found}


@pytest.mark.parametrize("command", SAME)
def test_the_tool_prints_what_the_program_prints(
    compared: dict[str, tuple[Ran, Observation]], command: str
) -> None:
    ran, seen = compared[command]
    same_lines(ran, seen, any_order=command in ANY_ORDER)


@pytest.fixture(scope="module")
def changed(
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple[str, Ran, Observation]]:
    return asyncio.run(both(tmp_path_factory.mktemp("changes"), CHANGES))


@pytest.mark.parametrize("index", range(len(CHANGES)), ids=lambda i: f"{i}-{CHANGES[i]}")
def test_the_tool_does_what_the_program_does(
    changed: list[tuple[str, Ran, Observation]], index: int
) -> None:
    _, ran, seen = changed[index]
    assert seen.ok == (ran.code == 0)
    same_lines(ran, seen)
