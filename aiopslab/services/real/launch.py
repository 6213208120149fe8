"""One process of one service, as a container or ``up`` starts it: what it is, and its exit code.

Not here: arguments (``services.__main__``), the surroundings themselves (``host``).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from aiopslab import content
from aiopslab.errors import UsageError
from aiopslab.models.app import App
from aiopslab.services import programs
from aiopslab.services.real.host import ProcessHost
from aiopslab.services.real.place import Place, told


@dataclass(frozen=True, slots=True)
class Role:
    """What a process is to be."""

    app: App
    service: str
    version: str
    job: str = ""
    """A job of the app to do and end, instead of serving."""

    @classmethod
    def of(cls, app: App, service: str, version: str = "", job: str = "") -> Role:
        """Check a role; without a version it is the deployed one.

        Raises:
            UsageError: The app has no such service, version or job; the hint names near ones.
        """
        if job:
            _known("job", job, list(app.jobs))
            service = service or app.jobs[job].service
        _known("service", service, list(app.services))
        spec = app.services[service]
        version = version or spec.image.version
        _known("version", version, [spec.image.version, *spec.releases])
        return cls(app, service, version, job)


def role_of_pod(app: App, service: str, pod: str) -> str:
    """Return the service a pod is of: several may share the image of one.

    Pods of a Deployment carry its name before two further words.

    Args:
        app: The app.
        service: The service whose image it is.
        pod: The pod's name.
    """
    image = app.services[service].image.name
    deployment = pod.rsplit("-", 2)[0]
    shares = deployment in app.services and app.services[deployment].image.name == image
    return deployment if shares else service


async def serve(
    role: Role, env: Mapping[str, str], place: Place, *, until_eof: bool = False
) -> int:
    """Run the process until it ends or is told to; return its exit code.

    Args:
        role: What it is.
        env: The effective environment.
        place: Where it runs.
        until_eof: End, too, when standard input does: whoever started it has gone.
    """
    # The exporters' complaints about a receiver that is away are no lines of the service.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    host = ProcessHost(role.app, role.service, role.version, env, place)
    async with host, told(host.terminate, until_eof):
        program = programs.make(role.app, role.service, role.version, host, role.job)
        return await host.run(program.run())


def _known(kind: str, name: str, names: list[str]) -> None:
    if name not in names:
        hint = content.near(name, names) or f"there are: {', '.join(sorted(names)) or 'none'}"
        raise UsageError(f"unknown {kind} {name!r}", hint=hint)
