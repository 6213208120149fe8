"""Asynchronous work of an app: streams of a queue store, and what a service does with messages.

Not here: the step that publishes (``step``), how a message is kept and delivered (``world.images``)
or worked on (``services.worker``).
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from aiopslab.models.base import Bytes, Model, Seconds
from aiopslab.models.step import Step

_SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")
_TEMPLATE = re.compile(r"[^.]*\{[^}]*\}[^.]*")
_FILTER = re.compile(r"([^\s.*>]+|\*)(\.([^\s.*>]+|\*))*(\.>)?|>")


def matches(pattern: str, subject: str) -> bool:
    """Say whether a subject falls under a pattern: ``*`` is one token, ``>`` one or more.

    >>> matches("orders.*", "orders.placed"), matches("orders.>", "orders")
    (True, False)
    """
    if pattern == subject:
        return True
    wanted, have = pattern.split("."), subject.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return len(have) > index
        if index >= len(have) or token not in ("*", have[index]):
            return False
    return len(wanted) == len(have)


def overlap(one: str, other: str) -> bool:
    """Say whether some subject falls under both patterns; ``{name}`` of a template is ``*``.

    >>> overlap("orders.{region}", "orders.>"), overlap("orders.*", "orders.*.late")
    (True, False)
    """
    first, second = (_TEMPLATE.sub("*", text).split(".") for text in (one, other))
    for a, b in zip(first, second, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(first) == len(second)


def is_subject(text: str) -> bool:
    """Say whether something can be published under this name: no wildcard, no empty token."""
    return _SUBJECT.fullmatch(text) is not None


class Stream(Model):
    """A stream of a queue store: which subjects it keeps, and how much of them."""

    subjects: list[str] = Field(min_length=1)
    """Subjects, or patterns: ``orders.*``, ``orders.>``."""
    retention: Literal["limits", "interest", "workqueue"] = "limits"
    """``limits`` keeps messages until a limit; ``interest`` until every consumer has acknowledged;
    ``workqueue`` until the consumer has."""
    max_msgs: int = -1
    """Messages at most; -1 is no limit."""
    max_bytes: Bytes = -1
    max_age: Seconds = 0.0
    """Seconds a message is kept at most; 0 is no limit."""
    discard: Literal["old", "new"] = "old"
    """At a limit, drop the oldest message or refuse the new one."""
    storage: Literal["file", "memory"] = "file"
    """``file`` lies on the volume and outlives a restart."""
    duplicate_window: Seconds = 120.0
    """Seconds in which a message with a known id is acknowledged, but not stored again."""

    @field_validator("subjects")
    @classmethod
    def _well_formed(cls, subjects: list[str]) -> list[str]:
        for subject in subjects:
            if not _FILTER.fullmatch(subject.removeprefix("$")):
                raise ValueError(f"{subject!r} is no subject; write orders.placed or orders.>")
        return subjects


class Consumer(Model):
    """A durable consumer of a service: each message runs the steps, then it is acknowledged.

    The policy is configuration (``<NAME>_CONCURRENCY``, ``_ACK_WAIT_MS``, ...; see
    ``services.config``), read at start.
    """

    stream: str
    """Stream of the store that the service uses as ``queue``."""
    subject: str = ""
    """Filter within the stream, wildcards allowed; empty takes every message."""
    durable: str = ""
    """Name of the consumer at the server; empty: ``<service>-<name>``."""
    steps: list[Step]
    """Run for each message; ``{name}`` reads what the publisher put into it."""
    failure: Literal["nak", "term"] = "nak"
    """After failed steps: ask for the message again, or give it up at once."""
    dead_letter: str = ""
    """Subject under which a message is filed that used up its deliveries, or was given up."""
