"""All stores of an app at once, as its services are given them."""

from __future__ import annotations

from functools import partial

import pytest
from app_stores import USER, cut, running
from stores import run

from aiopslab.services.catalogue import load_app
from aiopslab.services.database import statements_of
from aiopslab.services.manifests import password
from aiopslab.services.messaging import Subscription
from aiopslab.services.real.cache import CacheClient
from aiopslab.services.real.queue import QueueClient
from aiopslab.services.real.sql import SqlPool

SOON_S = 5.0


@pytest.mark.parametrize("name", ["hotel", "shop"])
def test_every_service_gets_into_its_stores_with_its_password(name: str) -> None:
    app, secret = cut(load_app(name)), partial(password, 0)

    async def scenario() -> None:
        async with running(app, secret) as book:
            for service, spec in app.services.items():
                for role, store in spec.uses.items():
                    address = book[store, app.stores[store].port]
                    if role == "db":
                        users = app.stores[store].users
                        user = service if service in users else next(iter(users))
                        pool = SqlPool(
                            address, user=user, password=secret(store, user),
                            database=app.stores[store].database, application=service,
                            statements=statements_of(app, service, spec.image.version), pool=2,
                            pool_timeout_s=SOON_S,
                        )  # fmt: skip
                        await pool.keep(1)
                        pool.close()
                    elif role == "cache":
                        cache = CacheClient(
                            address, password=secret(store, USER), pool=1, pool_timeout_s=SOON_S
                        )
                        await cache.set(service, 1024, 60.0, timeout_s=SOON_S)
                        cache.close()
                    else:
                        queue = QueueClient(address, password=secret(store, USER), name=service)
                        stream = next(iter(app.stores[store].streams))
                        subscription = Subscription(stream, service, "", 30.0, 5, 100, ())
                        await queue.subscribe(subscription, timeout_s=SOON_S)
                        await queue.close()

    run(scenario(), within_s=200.0)
