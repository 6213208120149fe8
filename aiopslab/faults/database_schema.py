"""Family ``database``, third part: what migrations, imports and restores leave behind.

An index that was not built again, statistics that nobody gathered, keys that run out, columns of
another name, a timeout that cuts normal statements. Source: faults.md ``dep-db-missing-index``,
``dep-db-plan-flip``, ``dep-db-id-overflow``, ``dep-schema-incompatible``.
"""

from __future__ import annotations

import re

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, ask, condition, container_of, fetch, rolled_out
from aiopslab.faults.database import clients_of, database_of, statements_needed
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.service import Release
from aiopslab.models.signal import Change
from aiopslab.models.support import everywhere, simulated
from aiopslab.models.truth import FixStep
from aiopslab.world.images.postgres_cluster import where_columns

PIPELINE = "ci-pipeline"
_SLOW_SCAN_ROWS = 400_000
"""From here on reading a whole table takes a tenth of a second."""
_BY_INDEX = re.compile(r"Index (Only )?Scan")
_RENAME = re.compile(r"ALTER TABLE (\w+) RENAME COLUMN (\w+) TO (\w+)")


class _InSql(Fault):
    """Struck and mended by SQL on one store."""

    system_level = "Application"

    async def _admin(self, env: Environment, *statements: str) -> None:
        for sql in statements:
            await env.substrate.store_admin(self.site.target, sql)

    async def _note(self, env: Environment, actor: str, summary: str) -> None:
        change = Change(
            time=env.now(),
            actor=actor,
            kind="database",
            component=self.site.target,
            summary=summary,
        )
        await env.substrate.record_change(change)

    def _fix(self, *statements: str) -> list[FixStep]:
        store = self.site.target
        return [
            FixStep(tool="sql_query", arguments={"store": store, "sql": sql}) for sql in statements
        ]


class _Plan(_InSql):
    """A statement of a needed service cannot use the index of a large table any more."""

    class Params(Model):
        """No parameters: the table is the largest that a needed statement searches."""

    @classmethod
    def _searched(cls, app: App, component: str) -> list[tuple[int, str, str]]:
        """List (rows, table, indexed column), the largest first."""
        store = database_of(app, component)
        found = set()
        for _, statement in statements_needed(app, component):
            assert store is not None
            table, columns = store.tables[statement.table], where_columns(statement.text)
            key = next(iter(table.columns), "")
            if columns and key not in columns and table.indexed:
                found.add((table.rows, statement.table, columns[0]))
        return sorted((f for f in found if f[0] >= _SLOW_SCAN_ROWS), reverse=True)

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return bool(cls._searched(app, component))

    @property
    def _place(self) -> tuple[str, str]:
        return self._searched(self.site.app, self.site.target)[0][1:]

    def accepted(self) -> list[tuple[str, str]]:
        return [(c, self.cause) for c in clients_of(self.site.app, self.site.target)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        table, column = self._place
        sql = f"EXPLAIN SELECT {column} FROM {table} WHERE {column} = 1"
        plan = await ask(env, self.site.target, sql)
        return [condition("plan", bool(_BY_INDEX.search(plan)), plan.strip() or "no answer")]


class MissingIndex(_Plan):
    """A migration dropped an index to load data faster, and its second half never ran."""

    kind = "database/missing-index"
    support = everywhere("it hurts where tables have the rows that the app says")
    cause = "missing_index"
    fault_type = "Operation Error"

    @property
    def _index(self) -> str:
        table, column = self._place
        return f"{table}_{column}_idx"

    def _create(self) -> str:
        table, column = self._place
        return f"CREATE INDEX IF NOT EXISTS {self._index} ON {table} ({column})"

    async def inject(self, env: Environment) -> None:
        await self._admin(env, f"DROP INDEX {self._index}")
        table, _ = self._place
        await self._note(env, PIPELINE, f"migration 0052: reload {table}, part 1 of 2")

    async def recover(self, env: Environment) -> None:
        await self._admin(env, self._create())

    def fix(self) -> list[FixStep]:
        return self._fix(self._create())


class StaleStatistics(_Plan):
    """A table was restored without ANALYZE, so the planner does not use its index."""

    kind = "database/stale-statistics"
    support = simulated("a real planner uses an index without statistics, too")
    cause = "statistics_missing"
    fault_type = "Operation Error"

    async def inject(self, env: Environment) -> None:
        table, _ = self._place
        await self._admin(
            env,
            "ALTER SYSTEM SET autovacuum = off",
            "SELECT pg_reload_conf()",
            f"SELECT pg_clear_relation_stats('public', '{table}')",
        )
        await self._note(env, "lea.martin", f"restore {table} from the dump of last night")

    async def recover(self, env: Environment) -> None:
        table, _ = self._place
        reset = ("ALTER SYSTEM RESET autovacuum", "SELECT pg_reload_conf()")
        await self._admin(env, *reset, f"ANALYZE {table}")

    def fix(self) -> list[FixStep]:
        return self._fix(f"ANALYZE {self._place[0]}")


class StatementTimeout(_InSql):
    """``statement_timeout`` is shorter than the statements normally take."""

    kind = "database/statement-timeout"
    support = simulated("statements of a real server are quicker than the limit")
    cause = "statement_timeout_too_short"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        milliseconds: int = 45

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        needed = statements_needed(app, component)
        return any(s.ms + s.io_ms >= cls._SLOW_MS for _, s in needed)

    _SLOW_MS = 65.0
    """Mean of a statement that the default timeout cuts more often than not."""

    async def inject(self, env: Environment) -> None:
        limit = f"'{self.params.milliseconds}ms'"
        await self._admin(
            env, f"ALTER SYSTEM SET statement_timeout = {limit}", "SELECT pg_reload_conf()"
        )
        await self._note(env, "m.okafor", f"{self.site.target}: guard rails for long statements")

    async def recover(self, env: Environment) -> None:
        await self._admin(env, "ALTER SYSTEM RESET statement_timeout", "SELECT pg_reload_conf()")

    def fix(self) -> list[FixStep]:
        return self._fix("ALTER SYSTEM RESET statement_timeout", "SELECT pg_reload_conf()")

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        answer = await ask(env, self.site.target, "SHOW statement_timeout")
        wrong = f"{self.params.milliseconds}ms"
        met = bool(answer) and wrong not in answer.split()
        return [condition("timeout", met, f"{answer.split()[-2:] if answer else 'no answer'}")]


class IdentifiersExhausted(_InSql):
    """An import jumped a sequence to near the end of its type; soon only inserts fail."""

    kind = "database/identifiers-exhausted"
    support = everywhere()
    cause = "identifiers_exhausted"
    fault_type = "Code Defect"

    class Params(Model):
        """Parameters."""

        left: int = 20
        """Keys that are left."""

    params: Params
    _last: int | None = None
    """What the sequence had given out; known once injected."""

    @classmethod
    def _sequences(cls, app: App, component: str) -> list[str]:
        store = database_of(app, component)
        if store is None:
            return []
        written = {s.table for _, s in statements_needed(app, component) if s.kind == "INSERT"}
        return [
            f"{name}_{next(iter(table.columns))}_seq"
            for name, table in sorted(store.tables.items())
            if name in written and table.sequence == "integer" and table.columns
        ]

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return bool(cls._sequences(app, component))

    @property
    def _sequence(self) -> str:
        return self._sequences(self.site.app, self.site.target)[0]

    async def _value(self, env: Environment, column: str) -> int:
        sql = f"SELECT {column} FROM pg_sequences WHERE sequencename = '{self._sequence}'"
        found = re.search(r"^\s*(\d+)\s*$", await ask(env, self.site.target, sql), re.MULTILINE)
        return int(found.group(1)) if found else 0

    async def inject(self, env: Environment) -> None:
        self._last = await self._value(env, "last_value")
        jump = 2**31 - 1 - self.params.left
        await self._admin(env, f"SELECT setval('{self._sequence}', {jump})")
        await self._note(
            env, "samuel.okoye", "import of the partners' records, ids from their range"
        )

    async def recover(self, env: Environment) -> None:
        last = self._last or 1
        await self._admin(
            env,
            f"ALTER SEQUENCE {self._sequence} AS bigint",
            f"SELECT setval('{self._sequence}', {last})",
            f"ALTER SEQUENCE {self._sequence} AS integer",
        )

    def fix(self) -> list[FixStep]:
        return self._fix(f"ALTER SEQUENCE {self._sequence} AS bigint")

    def accepted(self) -> list[tuple[str, str]]:
        return [(c, self.cause) for c in clients_of(self.site.app, self.site.target)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        highest, last = await self._value(env, "max_value"), await self._value(env, "last_value")
        met = highest - last > 1_000_000
        return [condition("sequence", met, f"{self._sequence} is at {last} of {highest}")]


class PrematureMigration(_InSql):
    """A migration renamed a column before the version that knows the new name was rolled out."""

    kind = "database/premature-migration"
    support = everywhere()
    cause = "schema_incompatible"
    fault_type = "Operation Error"

    class Params(Model):
        """No parameters: the migration is a release's."""

    @classmethod
    def release_of(cls, app: App, component: str) -> tuple[str, Release] | None:
        """Return (service, release) whose migration concerns the store."""
        for name in clients_of(app, component):
            for _, release in sorted(app.services[name].releases.items()):
                if release.columns and release.bug is None:
                    return name, release
        return None

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return cls.release_of(app, component) is not None

    @property
    def _release(self) -> tuple[str, Release]:
        found = self.release_of(self.site.app, self.site.target)
        assert found is not None, "checked by fits"
        return found

    async def inject(self, env: Environment) -> None:
        await self._admin(env, *self._release[1].migration)
        await self._note(env, PIPELINE, f"migration 0053: {self._release[1].migration[0]}")

    def _back(self) -> list[str]:
        return [
            _RENAME.sub(r"ALTER TABLE \1 RENAME COLUMN \3 TO \2", sql)
            for sql in reversed(self._release[1].migration)
        ]

    async def recover(self, env: Environment) -> None:
        if not (await schema_fits(env, self.site.app, self._release[0], self.site.target)).met:
            await self._admin(env, *self._back())

    def fix(self) -> list[FixStep]:
        return self._fix(*self._back())

    def accepted(self) -> list[tuple[str, str]]:
        return [(self._release[0], self.cause)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        service = self._release[0]
        fits = await schema_fits(env, self.site.app, service, self.site.target)
        return [fits, await rolled_out(env, "Deployment", service)]


async def schema_fits(env: Environment, app: App, service: str, store: str) -> CheckResult:
    """Check that the columns which the running version of a service names exist."""
    deployment = await fetch(env, "Deployment", service)
    image = str(container_of(deployment, service)["image"]) if deployment else "none:"
    release = app.services[service].releases.get(image.rpartition(":")[2])
    known = [r.columns for r in app.services[service].releases.values() if r.columns]
    old = {name for names in known for name in names}
    wanted = set(release.columns.values()) if release and release.columns else old
    answer = await ask(env, store, "SELECT column_name FROM information_schema.columns")
    missing = sorted(wanted - set(answer.split()))
    detail = f"{image} finds no column {missing}" if missing else f"{image} finds its columns"
    return condition("schema", bool(answer) and not missing, detail)


KINDS: tuple[type[Fault], ...] = (
    IdentifiersExhausted, MissingIndex, PrematureMigration, StaleStatistics, StatementTimeout,
)  # fmt: skip
