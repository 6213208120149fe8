"""Cross-references inside an app: every name that a part mentions must exist.

Checks what the schema cannot: call targets, statements, configuration keys, request parameters,
journeys, owners. The first mistake is reported with its place. Not here: types and unknown keys
(``models.app``), whether the app is healthy under load (tests).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from aiopslab.content import near
from aiopslab.errors import ContentError
from aiopslab.models.app import App
from aiopslab.models.intent import Invariant
from aiopslab.models.service import Service
from aiopslab.models.step import (
    CacheStep,
    CallStep,
    LogStep,
    ParallelStep,
    PublishStep,
    SqlStep,
    Step,
    WhenStep,
)
from aiopslab.services import programs, templates
from aiopslab.services.config import Config, ConfigError, as_text, settings
from aiopslab.services.edge_validation import check_edges
from aiopslab.services.validation_async import (
    check_consumer,
    check_job,
    check_publication,
    check_streams,
)
from aiopslab.services.walk import walk

KINDS = {"db": "postgres", "cache": "valkey", "queue": "nats"}
"""Role of a store to its kind."""
DEFAULT_USER = "default"
"""The user of a cache or queue; databases have one user per service, of the service's name."""


def validate(app: App, path: Path) -> None:
    """Check every cross-reference of an app.

    Raises:
        ContentError: Something refers to a name that does not exist; names place and near names.
    """
    _Checker(app, path).run()


class _Checker:
    def __init__(self, app: App, path: Path) -> None:
        self._app = app
        self._path = path

    def run(self) -> None:
        self._names_are_unique()
        for name, service in self._app.services.items():
            self._service(name, service)
        for name, store in self._app.stores.items():
            self.known(f"stores.{name}.owner", store.owner, self._app.owners, "owner")
            for key, statement in store.statements.items():
                where = f"stores.{name}.statements.{key}.table"
                self.known(where, statement.table, store.tables, "table")
            for user, spec in store.users.items():
                for table in spec.grants:
                    self.known(f"stores.{name}.users.{user}", table, store.tables, "table")
        check_edges(self._app, self.known, self.wrong)
        check_streams(self._app, self)
        for name, job in self._app.jobs.items():
            check_job(self._app, f"jobs.{name}", job, self)
            for step in walk(job.steps):
                self._references(f"jobs.{name}", job.service, step)
        self._journeys()
        for invariant in self._app.intent.invariants:
            self._invariant(invariant)
        for change in self._app.history:
            parts = [*self._app.components(), *self._app.externals]
            parts += [node.name for node in self._app.nodes]
            self.known("history.component", change.component, parts, "component")

    def _names_are_unique(self) -> None:
        seen: dict[str, str] = {}
        app = self._app
        kinds = (
            ("service", [*app.services]), ("store", [*app.stores]), ("external", [*app.externals]),
            ("job", [*app.jobs]),
        )  # fmt: skip
        for kind, names in kinds:
            for name in names:
                if name in seen:
                    self.wrong(f"{kind}s", f"{name!r} is a {seen[name]} and a {kind}")
                seen[name] = kind

    def _service(self, name: str, service: Service) -> None:
        where = f"services.{name}"
        self.known(f"{where}.owner", service.owner, self._app.owners, "owner")
        for role, store in service.uses.items():
            self.known(f"{where}.uses.{role}", store, self._app.stores, "store")
            kind = KINDS[role]
            spec = self._app.stores[store]
            if spec.kind != kind:
                self.wrong(f"{where}.uses.{role}", f"{store!r} is not a {kind} store")
            user = name if role == "db" else DEFAULT_USER
            self.known(f"stores.{store}.users", user, spec.users, "user")
        for target in service.calls:
            known = [*self._app.services, *self._app.externals]
            self.known(f"{where}.calls", target, known, "service")
        if service.node:
            nodes = [node.name for node in self._app.nodes]
            self.known(f"{where}.node", service.node, nodes, "node")
        self._program(where, name, service)
        if service.image.version in service.releases:
            self.wrong(f"{where}.releases", "holds the deployed version itself")
        lists = {f"endpoints.{key}": steps for key, steps in service.endpoints.items()}
        lists |= {f"background.{job.name}": job.steps for job in service.background}
        for key, consumer in service.consumers.items():
            check_consumer(self._app, f"{where}.consumers.{key}", service, consumer, self)
            lists[f"consumers.{key}"] = consumer.steps
        for place, steps in lists.items():
            for step in walk(steps):
                self._references(f"{where}.{place}", name, step)
            if place.startswith("background"):
                missing = self.needs(steps)
                if missing:
                    self.wrong(f"{where}.{place}", f"no request gives {{{min(missing)}}}")

    def _program(self, where: str, name: str, service: Service) -> None:
        """Check a named program's own keys the way the process will read them."""
        if service.program is None:
            return
        self.known(f"{where}.program", service.program, programs.CHECKS, "program")
        env = {**settings(self._app, name), **{k: as_text(v) for k, v in service.env.items()}}
        try:
            programs.CHECKS[service.program](Config(env))
        except ConfigError as error:
            self.wrong(f"{where}.config", str(error))

    def _references(self, where: str, name: str, step: Step) -> None:
        service = self._app.services[name]
        match step:
            case CallStep(call=call):
                parts = call.split(" ", 2)
                if len(parts) != 3:
                    self.wrong(where, f"call {call!r} is not 'service METHOD /path'")
                target, method, path = parts
                known = self._endpoints(where, target)
                self.known(where, f"{method} {path}", known, f"endpoint of {target}")
            case SqlStep(sql=statement):
                if "db" not in service.uses:
                    self.wrong(where, f"runs {statement!r} but the service uses no db")
                known_statements = self._app.stores[service.uses["db"]].statements
                self.known(where, statement, known_statements, "statement")
            case CacheStep(cache=access):
                if "cache" not in service.uses:
                    self.wrong(where, "uses a cache, but the service has none")
                if sum(x is not None for x in (access.get, access.set, access.delete)) != 1:
                    self.wrong(where, "cache needs exactly one of get, set, delete")
                declared = {**settings(self._app, name), **service.env}
                for key in templates.keys(access.ttl):
                    self.known(where, key, declared, "configuration key")
            case PublishStep(publish=message):
                check_publication(self._app, where, service, message, self)
            case _:
                pass

    def _endpoints(self, where: str, target: str) -> Iterable[str]:
        external = self._app.externals.get(target)
        if external is not None:
            return external.endpoints
        self.known(where, target, [*self._app.services, *self._app.externals], "service")
        return self._app.services[target].endpoints

    def needs(self, steps: Iterable[Step]) -> set[str]:
        """Return the parameters that steps need, of the services they call included."""
        needed: set[str] = set()
        for step in steps:
            match step:
                case CallStep(call=call, params=params, fallback=fallback):
                    target, endpoint = call.split(" ", 1)
                    service = self._app.services.get(target)
                    inner = self.needs(service.endpoints[endpoint]) if service else set()
                    needed |= inner - set(params) | _of(params) | self.needs(fallback)
                case SqlStep(params=params):
                    needed |= _of(params)
                case PublishStep(publish=message):
                    named = templates.names(message.subject) | templates.names(message.id)
                    needed |= _of(message.params) | named
                case CacheStep(cache=access):
                    key = access.get or access.set or access.delete or ""
                    needed |= templates.names(key) | self.needs(access.fill)
                case LogStep(log=line):
                    needed |= templates.names(line.msg) | _of(line.fields)
                case ParallelStep(parallel=inner_steps):
                    needed |= self.needs(inner_steps)
                case WhenStep(then=then, otherwise=otherwise):
                    needed |= self.needs([*then, *otherwise])
                case _:
                    pass
        return needed

    def _journeys(self) -> None:
        for name, journey in self._app.journeys.items():
            where = f"journeys.{name}"
            self.known(f"{where}.entry", journey.entry, self._app.services, "service")
            endpoints = self._app.services[journey.entry].endpoints
            for step in journey.steps:
                self.known(where, step.request, endpoints, f"endpoint of {journey.entry}")
                if step.sli:
                    self.known("slos", step.sli, self._app.slos, "promise for sli")
                    if step.sli in self._app.journeys:
                        self.wrong(where, f"sli {step.sli!r} is the name of a journey")
                missing = self.needs(endpoints[step.request]) - {*journey.params, *step.params}
                if missing:
                    self.wrong(where, f"{step.request} needs the parameter {min(missing)!r}")
            self.known("slos", name, self._app.slos, "promise for journey")
        for name in self._app.slos:
            self.known("slos", name, self._app.promised(), "journey or sli")

    def _invariant(self, invariant: Invariant) -> None:
        """Check that there is what is to be kept: of what is not there nothing is ever lost."""
        where, target = f"intent.invariants.{invariant.id}", invariant.target
        stores = self._app.stores
        match invariant.kind:
            case "object_exists":
                if not all(target.partition("/")):
                    self.wrong(where, f"{target!r} is no object; write Kind/name")
            case "volume_kept" | "rows_kept":
                self.known(where, target, ["*", *stores], "store")
            case "messages_kept":
                queues = [name for name, store in stores.items() if store.kind == "nats"]
                self.known(where, target, ["*", *queues], "queue")
            case _:
                self.known(where, target, ["*", *self._app.services, *stores], "component")

    def known(self, where: str, name: str, known: Iterable[str], what: str) -> None:
        names = list(known)
        if name not in names:
            self.wrong(where, f"unknown {what} {name!r}", near(name, names))

    def wrong(self, where: str, message: str, hint: str = "") -> None:
        raise ContentError(f"{self._path}", f"{where}: {message}", hint=hint)


def _of(values: Mapping[str, object]) -> set[str]:
    needed: set[str] = set()
    for value in values.values():
        needed |= templates.names(str(value))
    return needed
