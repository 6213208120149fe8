"""A partner's status page: what a company says about itself, some minutes late and not in full.

A person at the partner looks at a disturbance, and posts if it is of a kind the page mentions and
still lasts. Not here: the disturbance itself (``externals``).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from aiopslab.models.external import Disturbance, External, Trouble
from aiopslab.models.signal import StatusPost
from aiopslab.services.partners import maintenance
from aiopslab.world.clock import Handle, VirtualLoop

State = Literal["scheduled", "investigating", "identified", "resolved"]

_SPREAD = (0.85, 1.25)
"""Range of the actual lag, relative to the usual one."""
_WORDS: dict[Trouble, str] = {
    "latency": "elevated response times",
    "errors": "elevated error rates",
    "outage": "requests that are not answered",
    "rate_limit": "stricter request limits",
    "address": "a change of our network addresses",
}


class Feed:
    """The page of one partner.

    Args:
        partner: Component name.
        spec: The partner; without a status page nothing is ever posted.
        loop: The world's clock.
        draw: Stream of the lags.
        post: Receives the posts.
    """

    def __init__(
        self,
        partner: str,
        spec: External,
        loop: VirtualLoop,
        draw: random.Random,
        post: Callable[[StatusPost], None],
    ) -> None:
        self._partner = partner
        self._spec = spec
        self._loop = loop
        self._draw = draw
        self._post = post
        self._pending: list[Handle] = []
        self._open = False
        """A disturbance was posted and its end was not."""

    def follow(self, disturbance: Disturbance) -> None:
        """Notice how the partner behaves from now on."""
        page = self._spec.status_page
        if page is None:
            return
        for handle in self._pending:
            handle.cancel()
        self._pending = []
        told = [t for t in disturbance.troubles() if t not in page.omits]
        lag_s = page.lag_s * self._draw.uniform(*_SPREAD)
        if told:
            self._later(lag_s, "investigating", self._words(told, "We are investigating"))
            text = "The cause was identified. We are working on a remedy."
            self._later(3.0 * lag_s, "identified", text)
        elif self._open:
            self._later(lag_s, "resolved", "All systems operate normally again.")

    def announce(self, begins_at: float, lasts_s: float) -> None:
        """Publish a maintenance beforehand."""
        if self._spec.status_page is None:
            return
        self._publish("scheduled", maintenance(self._spec, begins_at, lasts_s))

    def _words(self, told: list[Trouble], beginning: str) -> str:
        what = " and ".join(_WORDS[trouble] for trouble in told)
        return f"{beginning} {what} of the {self._spec.provider} API."

    def _later(self, seconds: float, state: State, text: str) -> None:
        self._pending.append(self._loop.call_later(seconds, self._publish, state, text))

    def _publish(self, state: State, text: str) -> None:
        if state != "scheduled":
            self._open = state != "resolved"
        self._post(
            StatusPost(
                time=self._loop.time(),
                partner=self._partner,
                provider=self._spec.provider,
                state=state,
                text=text,
            )
        )
