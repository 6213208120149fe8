"""How values repeat down the tables of the apps, so that statements find what they declare."""

from __future__ import annotations

import pytest

from aiopslab.services.catalogue import load_app
from aiopslab.services.real.spread import Marked, Raised, Repeated, Spread, spreads_of
from aiopslab.services.real.table_sql import table_sql

LANGUAGES = ("en", "de", "fr", "es")


@pytest.mark.parametrize(
    ("app", "store", "table", "spreads"),
    [
        ("hotel", "geo-postgres", "areas", {}),
        ("hotel", "geo-postgres", "hotels", {"area": Repeated(25)}),
        ("hotel", "profile-postgres", "profiles",
         {"hotel": Repeated(5), "language": Repeated(1, 4, LANGUAGES), "area": Repeated(100)}),
        ("hotel", "reservation-postgres", "rooms",
         {"day": Repeated(1, 30), "hotel": Repeated(30), "area": Repeated(750),
          "free": Raised(ahead=False)}),
        ("hotel", "user-postgres", "sessions",
         {"customer": Repeated(1), "expires_at": Raised(ahead=True)}),
        ("shop", "payments-postgres", "charges",
         {"customer": Repeated(20), "state": Marked("captured", 2000)}),
    ],
)  # fmt: skip
def test_columns_that_statements_look_up_have_their_values_in_blocks(
    app: str, store: str, table: str, spreads: dict[str, Spread]
) -> None:
    assert spreads_of(load_app(app), store, table) == spreads


def test_a_key_that_widened_keeps_the_bound_of_its_sequence() -> None:
    sql = "\n".join(table_sql(load_app("hotel"), "reservation-postgres", "reservations"))
    assert '"id" bigint' in sql
    assert 'CREATE SEQUENCE "reservations_id_seq" AS integer MAXVALUE 2147483647' in sql
