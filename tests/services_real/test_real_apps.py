"""All of an app as local processes on real stores: what its users ask for is answered."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from app_stores import cut, running
from real_hosts import client
from waiting import until

from aiopslab.services.catalogue import load_app
from aiopslab.services.manifests import password
from aiopslab.services.protocols import Request
from aiopslab.services.real.addresses import AddressBook
from aiopslab.services.real.local import LocalApp

ASKED = {
    "hotel": [
        ("GET /hotels", {"area": "3", "day": "4", "language": "en"}),
        ("GET /recommendations", {"area": "3", "customer": "77", "language": "de"}),
        ("GET /hotel", {"hotel": "7"}),
        ("POST /reservations", {"hotel": "7", "day": "3", "customer": "12"}),
    ],
    "shop": [
        ("GET /products", {"category": "3", "page": "1"}),
        ("GET /product", {"product": "5", "currency": "EUR"}),
        ("GET /search", {"query": "4"}),
        ("POST /cart", {"customer": "5", "product": "9"}),
        ("GET /cart", {"customer": "5"}),
        ("POST /checkout", {"customer": "5", "product": "9", "country": "DE", "currency": "EUR",
                            "order": "o-1"}),
    ],
}  # fmt: skip
"""What the journeys of each app ask for."""


async def status(port: int, request: str, params: dict[str, str]) -> int:
    method, _, path = request.partition(" ")
    async with client(port) as http:
        return (
            await http.send(Request(method, path, params, client="tester"), timeout_s=30)
        ).status


@pytest.mark.parametrize("name", ["hotel", "shop"])
def test_every_request_of_the_journeys_is_answered(name: str) -> None:
    app = load_app(name)
    entry = next(iter(app.journeys.values())).entry

    async def scenario() -> None:
        async with (
            running(cut(app), partial(password, 0)) as book,
            LocalApp(app, known=AddressBook(book)) as local,
        ):
            port = local.services[entry].port
            for request, params in ASKED[name]:
                found = await status(port, request, params)
                assert found == 200, (request, found, local.services[entry].tail())
            if name == "shop":  # the invoice is written by who consumes the order's message

                async def invoiced() -> bool:
                    return await status(port, "GET /order", {"order": "o-1"}) == 200

                await until(invoiced, within_s=30.0)

    asyncio.run(scenario())
