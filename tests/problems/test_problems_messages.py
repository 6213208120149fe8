"""What the owners of a queue want kept: messages, until somebody has worked on them."""

from __future__ import annotations

import pytest

from aiopslab.problems.intent import Snapshot, losses, lost_messages

BEFORE = Snapshot({}, {"messages:shop-nats/ORDERS": 2, "messages:shop-nats/DEAD": 0,
                       "messages:other-nats/ORDERS": 0, "table:db/rows": 7})  # fmt: skip


@pytest.mark.parametrize(
    ("after", "lost"),
    [
        ({"messages:shop-nats/ORDERS": 2, "messages:shop-nats/DEAD": 0}, 0),
        ({"messages:shop-nats/ORDERS": 5, "messages:shop-nats/DEAD": 0}, 3),
        ({"messages:shop-nats/ORDERS": 3, "messages:shop-nats/DEAD": 4}, 5),
        ({"messages:shop-nats/ORDERS": 2}, 1),
        ({"messages:shop-nats/ORDERS": 2, "messages:shop-nats/DEAD": 0,
          "messages:other-nats/ORDERS": 9}, 0),
    ],
)  # fmt: skip
def test_messages_that_left_a_queue_unworked_are_counted(after: dict[str, int], lost: int) -> None:
    assert lost_messages(BEFORE, Snapshot({}, after), "shop-nats") == lost


def test_lost_messages_are_no_lost_rows() -> None:
    after = Snapshot({}, {**BEFORE.data, "messages:shop-nats/ORDERS": 9})
    assert losses(BEFORE, after) == []
