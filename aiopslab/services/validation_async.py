"""Cross-references of asynchronous work: streams, consumers, publications, jobs.

A message must have somewhere to lie, someone who can read it, and say all that his steps need. Not
here: the rest of an app (``validation``, which runs this).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from aiopslab.models.app import App
from aiopslab.models.job import Job
from aiopslab.models.queue import Consumer, Stream, overlap
from aiopslab.models.service import Service
from aiopslab.models.step import Publication, PublishStep, Step
from aiopslab.services.walk import walk

ROUND = "round"
"""The one parameter that a round of a job has."""
_CRON_FIELDS = 5


class Report(Protocol):
    """What a check says of the app; each raises ContentError."""

    def known(self, where: str, name: str, known: Iterable[str], what: str) -> None:
        """The name must be one of those known."""
        ...

    def wrong(self, where: str, message: str, hint: str = "") -> None:
        """The place is wrong."""
        ...

    def needs(self, steps: Iterable[Step]) -> set[str]:
        """Return the parameters that steps need."""
        ...


def check_streams(app: App, report: Report) -> None:
    """No two streams of a store may keep the same subject, as the server has it."""
    for name, store in app.stores.items():
        if (store.kind == "nats") != bool(store.streams):
            report.wrong(f"stores.{name}.streams", "a nats store has streams, and no other does")
        taken: list[tuple[str, str]] = []
        for key, stream in store.streams.items():
            for subject in stream.subjects:
                for other, theirs in taken:
                    if overlap(subject, theirs):
                        where = f"stores.{name}.streams.{key}.subjects"
                        report.wrong(where, f"{subject!r} overlaps with {theirs!r} of {other}")
            taken += [(key, subject) for subject in stream.subjects]


def check_publication(app: App, where: str, service: Service, message: Publication,
                      report: Report) -> None:  # fmt: skip
    """The service has a queue that keeps the subject, and every reader finds what he needs."""
    if "queue" not in service.uses:
        report.wrong(where, f"publishes {message.subject!r} but the service uses no queue")
    store = service.uses["queue"]
    streams = app.stores[store].streams
    if not _keeps(streams.values(), message.subject):
        report.wrong(where, f"no stream of {store} keeps {message.subject!r}", _listed(streams))
    for worker, key in app.workers_of(store, message.subject):
        consumer = app.services[worker].consumers[key]
        missing = report.needs(consumer.steps) - set(message.params)
        if missing:
            text = f"{worker}.consumers.{key} needs {min(missing)!r}, which the message lacks"
            report.wrong(where, text)


def check_consumer(app: App, where: str, service: Service, consumer: Consumer,
                   report: Report) -> None:  # fmt: skip
    """The stream exists, and the filter and the dead letter fall under streams of the queue."""
    if "queue" not in service.uses:
        report.wrong(where, "consumes, but the service uses no queue")
    streams = app.stores[service.uses["queue"]].streams
    report.known(f"{where}.stream", consumer.stream, streams, "stream")
    if consumer.subject and not _keeps([streams[consumer.stream]], consumer.subject):
        text = f"{consumer.stream} keeps nothing under {consumer.subject!r}"
        report.wrong(f"{where}.subject", text, _listed(streams))
    if consumer.dead_letter and not _keeps(streams.values(), consumer.dead_letter):
        text = f"no stream keeps {consumer.dead_letter!r}"
        report.wrong(f"{where}.dead_letter", text, _listed(streams))


def check_job(app: App, where: str, job: Job, report: Report) -> None:
    """The service exists, the schedule has five fields, the steps need the round at most."""
    report.known(f"{where}.service", job.service, app.services, "service")
    report.known(f"{where}.owner", job.owner, app.owners, "owner")
    if len(job.schedule.split()) != _CRON_FIELDS:
        report.wrong(f"{where}.schedule", f"{job.schedule!r} is not five fields of a cron schedule")
    missing = report.needs(job.steps) - {ROUND}
    if missing:
        report.wrong(where, f"no round of a job gives {{{min(missing)}}}")


def publications(steps: Iterable[Step]) -> list[Publication]:
    """Return what steps publish, at any depth."""
    return [step.publish for step in walk(steps) if isinstance(step, PublishStep)]


def _keeps(streams: Iterable[Stream], subject: str) -> bool:
    return any(overlap(kept, subject) for stream in streams for kept in stream.subjects)


def _listed(streams: dict[str, Stream]) -> str:
    return "; ".join(f"{key}: {', '.join(s.subjects)}" for key, s in streams.items())
