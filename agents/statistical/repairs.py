"""Repairs that need a look at a store first: grants and passwords.

Other repairs come with their clues. Not here: when to repair (``agent``).
"""

from __future__ import annotations

import base64
import re

from aiopslab.agents import TrialHandle

from .clues import Call, restart
from .ranking import Suspect
from .survey import Row, Survey

_TABLE = re.compile(r"permission denied for (?:table|relation) \"?(?P<table>\w+)")
_VERB = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)


async def repair_calls(trial: TrialHandle, seen: Survey, suspect: Suspect) -> list[Call]:
    """Return the calls that would repair a suspect; empty where it knows none."""
    match suspect.cause:
        case "database_permission_revoked":
            return await _grants(trial, seen, suspect.component)
        case "credentials_mismatch":
            return _passwords(seen, suspect.component, await _secrets(trial))
        case _:
            return list(suspect.repair)


async def _grants(trial: TrialHandle, seen: Survey, store: str) -> list[Call]:
    """Grant what the clients of a store are refused, as their own lines name it."""
    found = await trial.call(
        "logs_search", contains="permission denied for", start="now-10m", limit=200
    )
    secrets = await _secrets(trial)
    calls: dict[str, Call] = {}
    for row in found.data or []:
        table, client = _TABLE.search(row["line"]), row["service"]
        role = _username(seen, client, store, secrets)
        if table is None or role is None:
            continue
        verb = _VERB.search(row["line"])
        privilege = verb[1].upper() if verb else "SELECT"
        sql = f"GRANT {privilege} ON {table['table']} TO {role}"
        calls[sql] = ("sql_query", {"store": store, "sql": sql})
    return list(calls.values())


def _passwords(seen: Survey, client: str, secrets: dict[str, Row]) -> list[Call]:
    """Make the database accept the password that the client's Secret holds."""
    calls: list[Call] = []
    for store in _stores(seen, client):
        secret = secrets.get(f"{store}-{client}")
        if secret is None or "postgres" not in store:
            continue
        user, word = (_decoded(secret, key) for key in ("username", "password"))
        if user and word:
            quoted = word.replace("'", "''")
            sql = f"ALTER ROLE {user} PASSWORD '{quoted}'"
            calls.append(("sql_query", {"store": store, "sql": sql}))
    return [*calls, restart(client)] if calls else []


async def _secrets(trial: TrialHandle) -> dict[str, Row]:
    got = await trial.call("k8s_get", kind="Secret")
    return {s["metadata"]["name"]: s for s in got.data or []}


def _username(seen: Survey, client: str, store: str, secrets: dict[str, Row]) -> str | None:
    """Return the role a client logs in as."""
    if client not in seen.names("Deployment"):
        return None
    secret = secrets.get(f"{store}-{client}")
    return _decoded(secret, "username") if secret is not None else None


def _stores(seen: Survey, client: str) -> list[str]:
    used = [e["callee"] for e in seen.edges if e["caller"] == client and e["declared"]]
    return [s for s in used if s in seen.names("StatefulSet")]


def _decoded(secret: Row, key: str) -> str:
    return base64.b64decode(secret.get("data", {}).get(key, "")).decode()
