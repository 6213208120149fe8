"""Messages that a queue lost, worked out from what its server tells: never more than were lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.environments.cluster.stores import _Stream, lost

PUBLISHED = ["orders.placed"]


class Server:
    """A stream with one consumer, as a real server counts."""

    def __init__(self) -> None:
        self.last = self.deliveries = self.gone = 0
        self.waiting: list[int] = []
        self.given: list[int] = []

    def publish(self, count: int) -> None:
        for _ in range(count):
            self.last += 1
            self.waiting.append(self.last)

    def deliver(self, count: int) -> None:
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        self.deliveries += len(taken)
        self.given += taken

    def again(self, count: int) -> None:
        """Deliver what was delivered and not acknowledged a second time."""
        self.deliveries += min(count, len(self.given))

    def ack(self, count: int) -> None:
        self.given = self.given[count:]

    def purge(self, _count: int) -> None:
        self.gone += len(self.waiting)
        self.waiting, self.given = [], []

    def told(self, pattern: str = "orders.placed") -> dict[str, Any]:
        consumer = {
            "name": "c", "config": {"filter_subject": pattern},
            "delivered": {"consumer_seq": self.deliveries}, "num_pending": len(self.waiting),
        }  # fmt: skip
        messages = len(self.waiting) + len(self.given)
        return {
            "name": "ORDERS", "config": {"subjects": ["orders.>"]}, "consumer_detail": [consumer],
            "state": {"last_seq": self.last, "messages": messages},
        }  # fmt: skip


ACTS = st.tuples(
    st.sampled_from(["publish", "deliver", "ack", "again", "purge"]), st.integers(1, 9)
)


@given(st.lists(ACTS, max_size=30))
def test_the_figure_is_never_more_than_what_was_lost_and_never_falls(
    acts: list[tuple[str, int]],
) -> None:
    server, known, before = Server(), _Stream(), 0
    repeated = False
    for act, count in acts:
        getattr(server, act)(count)
        repeated = repeated or act == "again"
        figure = lost(known, server.told(), PUBLISHED)
        assert before <= figure <= server.gone
        assert repeated or figure == server.gone
        before = figure


def test_a_stream_that_was_made_anew_lost_what_the_one_before_held() -> None:
    server, known = Server(), _Stream()
    server.publish(5)
    assert lost(known, server.told(), PUBLISHED) == 0
    anew = Server()
    anew.publish(2)
    assert lost(known, anew.told(), PUBLISHED) == 6
    anew.purge(0)
    assert lost(known, anew.told(), PUBLISHED) == 8


@pytest.mark.parametrize(
    ("pattern", "figure"),
    [("orders.placed", 5), ("orders.>", 5), ("", 5), (">", 5), ("orders.paid", 0), ("dead.>", 0)],
)
def test_only_consumers_that_get_everything_tell(pattern: str, figure: int) -> None:
    server = Server()
    server.publish(5)
    server.purge(0)
    assert lost(_Stream(), server.told(pattern), PUBLISHED) == figure


def test_without_anybody_who_publishes_nothing_is_known_to_be_lost() -> None:
    server = Server()
    server.publish(5)
    server.purge(0)
    assert lost(_Stream(), server.told(), []) == 0
