"""``aiopslab up``: keep an application, or an incident, running and reachable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from aiopslab.cli import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from aiopslab.environments.sim import Sim
    from aiopslab.models.app import App
    from aiopslab.models.doors import Doors
    from aiopslab.models.incident import IncidentSpec


def command(
    target: str,
    /,
    *,
    clock: str = "wall:1",
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run a cluster in the foreground and serve its APIs on loopback until Ctrl-C.

    Kubernetes, Prometheus, Loki, Jaeger, Tempo, Alertmanager and OTLP, on random ports, for whoever
    has the token. The files named in the output are removed when it stops.

    Args:
        target: Name of an app or incident, or path of an incident file.
        clock: wall:F lets F seconds pass in the cluster for every second here.
        seed: Draws the incident and the traffic.
        json: Print the addresses as one line of JSON.
    """
    import asyncio
    import sys

    from aiopslab.errors import UsageError
    from aiopslab.models.run import parse_clock

    try:
        factor = parse_clock(clock)
    except ValueError as error:
        raise UsageError(f"--clock: {error}", hint="--clock wall:1") from error
    if factor is None:
        raise UsageError("a standing cluster follows the host's clock", hint="--clock wall:1")
    found = _find(target)
    print("preparing the application and its users, some seconds ...", file=sys.stderr)
    try:
        asyncio.run(_stand(_booted(found, seed), factor, as_json=json))
    except KeyboardInterrupt:
        print("stopped before it stood", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _booted(found: App | IncidentSpec, seed: int) -> Sim:
    # A world takes a while to import; a misspelt name is answered before.
    from aiopslab.orchestrator.standing import prepare

    return prepare(found, seed)


def _find(name: str) -> App | IncidentSpec:
    """Return an app or an incident by name, or read an incident's file.

    Raises:
        UsageError: There is neither.
    """
    from aiopslab.content import near
    from aiopslab.errors import UsageError
    from aiopslab.problems import catalogue
    from aiopslab.services import catalogue as apps

    if name in apps.app_names():
        return apps.load_app(name)
    known = [*apps.app_names(), *catalogue.incidents()]
    if name in known or name.endswith((".yaml", ".yml")):
        return catalogue.load_incident(name)
    hint = near(name, known) or "aiopslab list apps, or aiopslab list incidents"
    if catalogue.load_suite(name) is not None:
        hint = f"that is a suite; its incidents: aiopslab list incidents --suite {name}"
    raise UsageError(f"there is no app or incident {name!r}", hint=hint)


async def _stand(sim: Sim, factor: float, *, as_json: bool) -> None:
    """Serve until interrupted."""
    import asyncio
    import json
    import signal
    import sys

    from aiopslab.orchestrator.standing import standing

    over = asyncio.Event()
    # A supervisor ends it by SIGTERM; that must leave as little behind as Ctrl-C. And a script that
    # starts it in the background hands it a SIGINT that is ignored.
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, over.set)
    async with standing(sim, factor) as doors:
        shown = doors.model_dump(exclude={"token"}, exclude_none=True)
        if as_json:
            print(json.dumps({"schema": "aiopslab/doors@1", **shown}, sort_keys=True), flush=True)
        else:
            _describe(doors)
        await over.wait()
    print("stopped; nothing is left behind", file=sys.stderr)


def _describe(doors: Doors) -> None:
    """Print the addresses and what to type first."""
    addresses = doors.model_dump(exclude={"token", "kubeconfig", "token_file"}, exclude_none=True)
    for name, url in addresses.items():
        print(f"{name:<13} {url}")
    print(f"{'token':<13} {doors.token_file}")
    print(f"{'kubeconfig':<13} {doors.kubeconfig}")
    print("\ntry:")
    print(f"  kubectl --kubeconfig {doors.kubeconfig} get pods")
    print(f'  curl -H "Authorization: Bearer $(cat {doors.token_file})" \\')
    print(f"    '{doors.prometheus}/api/v1/query?query=up'")
    print("\nCtrl-C stops it and leaves nothing behind", flush=True)
