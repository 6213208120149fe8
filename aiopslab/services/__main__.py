"""``python -m aiopslab.services``: what containers run, and an app as local processes.

    serve [APP SERVICE]   one service, until SIGTERM
    job [APP] JOB         one job of the app, once
    partner APP NAME      one party outside that the app calls, until SIGTERM
    up APP                all services and partners of an app on loopback, until Ctrl-C
    excerpt APP FILE      write what of an app one image carries
    pack FILE             write the program that images run
    sessions              sessions of a tool outside on a database, until SIGTERM

What a container leaves out, its image says: ``AIOPSLAB_APP``, ``AIOPSLAB_SERVICE`` and
``AIOPSLAB_VERSION``; ``AIOPSLAB_EXCERPT`` is the file of what it carries of the app. Exit codes:
the program's own; 2 for wrong arguments. Not here: the work (``real.launch``, ``real.local``).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from aiopslab.errors import InfraError, UsageError
from aiopslab.models.app import App
from aiopslab.services.catalogue import load_app
from aiopslab.services.real.addresses import AddressBook
from aiopslab.services.real.launch import Role, role_of_pod, serve
from aiopslab.services.real.place import Place

APP, SERVICE, VERSION = "AIOPSLAB_APP", "AIOPSLAB_SERVICE", "AIOPSLAB_VERSION"
EXCERPT = "AIOPSLAB_EXCERPT"


def run() -> None:
    """Run a command and end the process; without one, serve."""
    sys.exit(main(sys.argv[1:] or ["serve"]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "up":
            return _up(arguments)
        if arguments.command == "partner":
            return _partner(arguments)
        if arguments.command in ("excerpt", "pack"):
            return _written(arguments)
        if arguments.command == "sessions":
            return _sessions(arguments)
        return _serve(arguments)
    except UsageError as error:
        sys.stderr.write(f"{error}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return 2
    except InfraError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _serve(arguments: argparse.Namespace) -> int:
    role = _job_role(arguments) if arguments.command == "job" else _service_role(arguments)
    name = os.environ.get("POD_NAME") or socket.gethostname()
    place = replace(
        _place(arguments), name=name, root=arguments.root, book=_book(arguments),
        hold_memory=not arguments.count_memory, links=arguments.links,
    )  # fmt: skip
    return asyncio.run(
        serve(_started(role, arguments), dict(os.environ), place, until_eof=arguments.until_eof)
    )


def _place(arguments: argparse.Namespace) -> Place:
    return Place(name="", bind=arguments.bind, port=arguments.port, fd=arguments.fd)


def _partner(arguments: argparse.Namespace) -> int:
    # Services have no use for what stands for others.
    from aiopslab.services.real import partner

    place, until_eof = _place(arguments), arguments.until_eof
    app, name, file = _app(arguments.app), arguments.partner, arguments.disturbance
    return asyncio.run(partner.serve(app, name, place, file, until_eof=until_eof))


def _written(arguments: argparse.Namespace) -> int:
    """Write a file that images are made of."""
    # Processes in an image make no images.
    from aiopslab.services.real import excerpt, packing

    try:
        if arguments.command == "pack":
            packing.pack(arguments.file)
        else:
            app = load_app(_given(arguments.app, APP))
            part = excerpt.excerpt(app, arguments.service, arguments.version)
            excerpt.write(part, arguments.file)
    except OSError as error:
        raise UsageError(f"{arguments.file} cannot be written: {error.strerror}") from error
    return 0


def _sessions(arguments: argparse.Namespace) -> int:
    # Services have no use for what others do.
    from aiopslab.services.real import sessions

    login = sessions.Login(
        arguments.host, arguments.port, arguments.database, arguments.user, arguments.password,
        arguments.application,
    )  # fmt: skip
    return asyncio.run(sessions.keep(login, arguments.count, arguments.again))


def _app(name: str | None) -> App:
    """Return the app: what the image carries of it, or all that content says."""
    file = os.environ.get(EXCERPT)
    if not file:
        return load_app(_given(name, APP))
    # Who has all of the app needs no way to read a part.
    from aiopslab.services.real import excerpt

    app = excerpt.read(Path(file))
    if name and name != app.name:
        raise UsageError(f"no app {name!r} here", hint=f"this image is of {app.name!r}")
    return app


def _service_role(arguments: argparse.Namespace) -> Role:
    app = _app(arguments.app)
    service = _given(arguments.service, SERVICE)
    if not arguments.service and service in app.services:
        service = role_of_pod(app, service, socket.gethostname())
    return Role.of(app, service, arguments.version or os.environ.get(VERSION, ""))


def _job_role(arguments: argparse.Namespace) -> Role:
    *app, job = arguments.names
    if len(app) > 1:
        raise UsageError("too many arguments", hint="type: job [APP] JOB")
    version = arguments.version or os.environ.get(VERSION, "")
    return Role.of(_app(app[0] if app else None), "", version, job)


def _started(role: Role, arguments: argparse.Namespace) -> Role:
    """Let the service start in so many seconds instead of those the app says."""
    if arguments.startup is None:
        return role
    spec = role.app.services[role.service].model_copy(update={"startup_s": arguments.startup})
    services = role.app.services | {role.service: spec}
    app: App = role.app.model_copy(update={"services": services})
    return Role(app, role.service, role.version, role.job)


def _up(arguments: argparse.Namespace) -> int:
    # Servers of one service have no use for what starts others.
    from aiopslab.services.real.local import up

    return asyncio.run(up(load_app(arguments.app), arguments.seed, _book(arguments), arguments.dir))


def _book(arguments: argparse.Namespace) -> AddressBook:
    return AddressBook.read(arguments.addresses) if arguments.addresses else AddressBook()


def _given(argument: str | None, variable: str) -> str:
    found = argument or os.environ.get(variable, "")
    if not found:
        what = variable.rpartition("_")[2].lower()
        raise UsageError(f"no {what} is named", hint=f"name one, or set {variable}")
    return found


def _parser() -> argparse.ArgumentParser:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m aiopslab.services", description=__doc__, formatter_class=style
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("serve", help="run one service until SIGTERM")
    one.add_argument("app", nargs="?", help="name of the app")
    one.add_argument("service", nargs="?", help="name of the service")
    job = commands.add_parser("job", help="run one job of an app, once")
    job.add_argument("names", nargs="+", metavar="[APP] JOB", help="the app, and its job")
    partner = commands.add_parser("partner", help="run one party outside that an app calls")
    partner.add_argument("app", help="name of the app")
    partner.add_argument("partner", help="its name in the app")
    partner.add_argument(
        "--disturbance", type=Path, metavar="FILE", help="JSON that says how it misbehaves"
    )
    for each in (one, job, partner):
        _listening_options(each)
    for each in (one, job):
        _process_options(each)
    every = commands.add_parser("up", help="run all services of an app on loopback")
    every.add_argument("app", help="name of the app")
    every.add_argument("--seed", type=int, default=0, help="what passwords are derived from")
    every.add_argument("--dir", type=Path, help="keep configuration and logs in this folder")
    _session_options(commands.add_parser("sessions", help="keep sessions on a database"))
    _image_commands(commands.add_parser)
    for each in (one, job, every):
        each.add_argument("--addresses", type=Path, metavar="FILE",
                          help="lines 'name:port host:port': where names lead")  # fmt: skip
    return parser


def _session_options(parser: argparse.ArgumentParser) -> None:
    for name in ("host", "database", "user", "password", "application"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, default=5432)
    parser.add_argument("--count", type=int, default=1, help="how many")
    parser.add_argument("--again", type=float, default=10.0, metavar="S",
                        help="pause before one that was refused is tried again")  # fmt: skip


def _listening_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--port", type=int, help="listen on this port instead of its own in the cluster")
    add("--bind", default="0.0.0.0", metavar="ADDRESS", help="listen on this address")
    add("--fd", type=int, help="listen on this bound socket, inherited")
    add("--until-eof", action="store_true", help="end with standard input")


def _process_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--version", help="release to run instead of the deployed one")
    add("--root", type=Path, default=Path("/"), help="folder that mounted files lie below")
    add("--count-memory", action="store_true", help="count memory instead of holding it")
    add("--links", type=Path, help="file of what is not as usual on its ways")
    add("--startup", type=float, metavar="S", help="seconds to start, instead of the app's")


def _image_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    part = add("excerpt", help="write what of an app one image carries")
    part.add_argument("app", help="name of the app")
    part.add_argument("file", type=Path)
    part.add_argument("--service", default="", help="whose image; without it: the partners'")
    part.add_argument("--version", default="", help="of the image, instead of the deployed one")
    add("pack", help="write the program that images run").add_argument("file", type=Path)


if __name__ == "__main__":
    run()
