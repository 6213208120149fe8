"""Distractors from outside: clients beside the users, which the app carries well.

Their requests are no user's: no promise counts them, but every log, trace and metric of the app
does. Not here: more users than usual (``distractors``), clients that take everything
(``faults.traffic``).
"""

from __future__ import annotations

from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.models.app import App
from aiopslab.models.journey import Journey
from aiopslab.models.signal import Change
from aiopslab.models.support import everywhere
from aiopslab.models.timestamps import rfc3339
from aiopslab.problems.happening import Happening, Takes


class _Visitor(Happening):
    """A client that sends the first request of a journey, so many times a second."""

    support = everywhere("its address is the one that X-Forwarded-For names")

    takes: ClassVar[Takes] = {"journey": str, "rate": float}

    address = "198.18.70.14"
    rate = 2.0
    """Requests per second, unless ``rate`` says otherwise."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in {j.entry for j in app.journeys.values()}

    @property
    def copied(self) -> Journey:
        """Return the journey whose request it sends: ``journey``, or the busiest."""
        entered = {n: j for n, j in self.app.journeys.items() if j.entry == self.target}
        busiest = max(sorted(entered), key=lambda name: entered[name].rate)
        return entered[self.params.get("journey") or busiest]

    @property
    def per_s(self) -> float:
        """Requests per second."""
        return float(self.params.get("rate", self.rate))

    async def visit(self, env: Environment, journey: Journey) -> None:
        """Begin to send, until the end."""
        await env.traffic.visitor(self.address, journey)


class OldClient(_Visitor):
    """A client that nobody updated asks without what is required by now, and is turned away."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return super().fits(app, component) and any(app.services[component].endpoints.values())

    async def happen(self, env: Environment) -> None:
        """Ask the page without a parameter."""
        step = self.copied.steps[0].model_copy(update={"params": {}})
        journey = Journey(entry=self.target, rate=self.per_s, steps=[step], timeout_s=10.0)
        await self.visit(env, journey)


class LoadTest(_Visitor):
    """An announced load test asks a page beside the users, within what the app carries."""

    takes: ClassVar[Takes] = {**_Visitor.takes, "lasts_s": float}

    address = "198.18.70.31"
    rate = 4.0

    async def happen(self, env: Environment) -> None:
        """Announce it in the change log, then send."""
        service, now = self.app.services[self.target], env.now()
        summary = (
            f"load test of {self.target} from {self.address}, {self.per_s:g} requests a second"
        )
        until = rfc3339(now + float(self.params.get("lasts_s", 3600.0)))
        actor = self.app.owners[service.owner].oncall
        await env.substrate.record_change(
            Change(
                time=now, actor=actor, kind="other", component=self.target, summary=summary,
                diff=f"until {until}",
            )
        )  # fmt: skip
        copied = self.copied
        journey = Journey(
            entry=self.target,
            rate=self.per_s,
            params=copied.params,
            steps=copied.steps[:1],
            timeout_s=copied.timeout_s,
        )
        await self.visit(env, journey)
