"""A shop of two services and two stores: the smallest app with every kind of step."""

from __future__ import annotations

import yaml

from aiopslab.models.app import App

TWO_SERVICES = """
schema: aiopslab/app@1
name: shop
title: Shop
summary: Two services and two stores.
namespace: shop
nodes: [{name: node-a}]
owners: {core: {team: Core, oncall: kim, channel: "#core"}}
services:
  web:
    image: {name: shop-web, version: 1.0.0}
    language: %(web)s
    summary: Entry.
    owner: core
    workers: 2
    queue: 1
    startup_s: 1
    config: {STOCK_RETRIES: 2, STOCK_TIMEOUT_MS: 100, STOCK_BACKOFF_MS: 40, ACCESS_LOG_RATIO: 0}
    endpoints:
      GET /page:
        - cpu: {ms: 10, cv: 0}
        - call: stock GET /stock
      POST /order:
        - call: stock POST /take
      GET /both:
        - parallel: [{call: stock GET /stock}, {sleep: {ms: 30, cv: 0}}]
      GET /maybe:
        - {call: stock GET /stock, optional: true}
        - when: {kind: teapot}
          then: [{fail: 418, message: short and stout}]
    releases:
      1.1.0: {changes: Leaner, bug: {error_rate: 1.0}}
      1.2.0: {changes: Cleaner, bug: {leak_bytes_per_request: 1000}}
  stock:
    image: {name: shop-stock, version: 2.0.0}
    language: %(stock)s
    summary: What is there.
    owner: core
    replicas: 2
    startup_s: 1
    config: {CACHE_TTL_S: 60, ACCESS_LOG_RATIO: 1}
    uses: {db: stock-postgres, cache: stock-valkey}
    endpoints:
      GET /stock:
        - cache:
            get: "stock:{item}"
            ttl: $CACHE_TTL_S
            size: 2Ki
            fill: [{sql: read_stock, params: {item: "{item}"}}]
      POST /take:
        - {sql: take_stock, params: {item: "{item}"}}
        - cache: {delete: "stock:{item}"}
    releases:
      2.1.0: {changes: Loops, bug: {n_plus_one: 5}}
      2.2.0: {changes: Keeps, bug: {connection_leak: 1.0}}
stores:
  stock-postgres:
    kind: postgres
    image: {name: postgres, version: "17"}
    summary: Stock.
    owner: core
    port: 5432
    database: stock
    config: {max_connections: 50}
    users: {stock: {grants: {items: [SELECT, UPDATE]}}}
    tables: {items: {rows: 100}}
    statements:
      read_stock: {text: SELECT n FROM items WHERE id = $1, table: items, kind: SELECT}
      take_stock: {text: UPDATE items SET n = n - 1 WHERE id = $1, table: items, kind: UPDATE}
  stock-valkey:
    kind: valkey
    image: {name: valkey, version: "8"}
    summary: Stock, quickly.
    owner: core
    port: 6379
    config: {maxmemory: 16mb}
    users: {default: {}}
journeys:
  buy:
    entry: web
    rate: 1
    steps:
      - {request: GET /page, params: {item: 1}}
slos: {buy: {success: 0.99, p95_ms: 200}}
"""


def make_app(web: str = "go", stock: str = "java") -> App:
    """Return the shop, its services written in the given languages."""
    return App.model_validate(yaml.safe_load(TWO_SERVICES % {"web": web, "stock": stock}))
