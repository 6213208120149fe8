"""A shop that confirms orders later: a queue, two workers, a job and a status page."""

from __future__ import annotations

from typing import Any

import yaml

from aiopslab.models.app import App

TEXT = """
schema: aiopslab/app@1
name: parcel
title: Parcels
summary: Orders are taken at once and confirmed later.
namespace: parcel
nodes: [{name: node-a}, {name: node-b}]
owners: {core: {team: Core, oncall: kim, channel: "#core"}}
services:
  web:
    image: {name: parcel-web, version: 1.0.0}
    language: go
    summary: Takes orders and shows how far they are.
    owner: core
    replicas: 2
    startup_s: 1
    resources: &small {requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 1000m, memory: 256Mi}}
    uses: {queue: parcel-nats, cache: parcel-valkey}
    endpoints:
      POST /orders:
        - cpu: {ms: 3, cv: 0.2}
        - publish: {subject: orders.placed, size: 2Ki, params: {order: "{order}"}, id: "{order}"}
      GET /orders/status:
        - cache: {get: "confirmed:{order}", fill: [{fail: 404, message: not confirmed yet}]}
  packer:
    image: {name: parcel-packer, version: 1.0.0}
    language: python
    summary: Confirms orders.
    owner: core
    replicas: 1
    startup_s: 1
    resources: *small
    config: {CONFIRM_CONCURRENCY: 4, CONFIRM_ACK_WAIT_MS: 10000, CONFIRM_MAX_DELIVER: 5}
    uses: {queue: parcel-nats, cache: parcel-valkey}
    consumers:
      confirm:
        stream: ORDERS
        subject: orders.placed
        dead_letter: dead.orders
        steps:
          - sleep: {ms: 80, cv: 0.2}
          - cache: {set: "confirmed:{order}", size: 64}
          - publish: {subject: parcels.packed, params: {order: "{order}"}}
    releases:
      1.1.0: {changes: Checks the address, bug: {error_rate: 1.0}}
stores:
  parcel-nats:
    kind: nats
    image: {name: nats, version: "2.11.4"}
    summary: Orders on their way.
    owner: core
    port: 4222
    resources: *small
    volume: 1Gi
    config: {max_file_store: 512MB, max_payload: 1MB}
    users: {default: {}}
    streams:
      ORDERS: {subjects: ["orders.>"], retention: workqueue, max_msgs: 50000, discard: new}
      PARCELS: {subjects: ["parcels.>"], max_age: 1h}
      DEAD: {subjects: ["dead.>", "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>"]}
  parcel-valkey:
    kind: valkey
    image: {name: valkey, version: "8"}
    summary: Which orders are confirmed.
    owner: core
    port: 6379
    resources: *small
    config: {maxmemory: 64mb}
    users: {default: {}}
jobs:
  reconcile:
    service: packer
    schedule: "*/2 * * * *"
    summary: Looks for orders that were forgotten.
    owner: core
    resources: *small
    rounds: 6
    concurrency: 2
    deadline: 60s
    steps: [{cpu: {ms: 20, cv: 0}}, {cache: {get: "confirmed:parcel-{round}"}}]
journeys:
  order:
    entry: web
    rate: 4
    steps:
      - {request: POST /orders, params: {order: {session: parcel-}}}
      - request: GET /orders/status
        params: {order: {session: parcel-}}
        poll: {every: 1s, within: 20s}
        sli: order-confirmed
    think_s: 1
load: {shape: constant}
slos:
  order: {success: 0.99, p95_ms: 300}
  order-confirmed: {success: 0.98, p95_ms: 8000}
intent:
  invariants:
    - {id: orders-kept, kind: messages_kept, target: parcel-nats, allowed: 2}
"""


def make_parcel(**changes: Any) -> App:
    """Return the app; ``changes`` are values by dotted path (``__`` for the dots)."""
    document = yaml.safe_load(TEXT)
    for path, value in changes.items():
        *parts, last = path.split("__")
        place = document
        for part in parts:
            place = place[part.replace("_", "-") if part not in place else part]
        place[last] = value
    return App.model_validate(document)
