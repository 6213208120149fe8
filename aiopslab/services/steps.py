"""Compiling the steps of an endpoint to coroutine functions, once, at start of the process.

A compiled step takes the ``Exchange`` and returns when the step is done, or raises
``RequestFailed``. Not here: what surrounds a request (``process``), calls and stores (``client``,
``database``, ``caching``, ``queue``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from aiopslab.models.step import (
    WHEN_KEYS,
    CacheAccess,
    CacheStep,
    CallStep,
    Cpu,
    CpuStep,
    FailStep,
    LogStep,
    ParallelStep,
    Publication,
    PublishStep,
    SleepStep,
    SqlStep,
    Step,
    TokenStep,
    WhenStep,
)
from aiopslab.services import templates
from aiopslab.services.branches import Branches, Run
from aiopslab.services.caching import CacheClient
from aiopslab.services.client import ServiceClient
from aiopslab.services.config import Config, as_text
from aiopslab.services.database import Database
from aiopslab.services.defects import Defects
from aiopslab.services.exchange import Exchange, RequestFailed
from aiopslab.services.flags import Flags
from aiopslab.services.journal import Journal
from aiopslab.services.languages import Problem
from aiopslab.services.protocols import Host
from aiopslab.services.queue import QueueClient
from aiopslab.services.tokens import Tokens


@dataclass(slots=True)
class Equipment:
    """What compiled steps use."""

    host: Host
    config: Config
    journal: Journal
    defects: Defects
    flags: Flags
    clients: dict[str, ServiceClient]
    database: Database | None
    cache: CacheClient | None
    queue: QueueClient | None


class Compiler:
    """Compiles the steps of one process."""

    def __init__(self, equipment: Equipment) -> None:
        self._use = equipment

    def sequence(self, steps: Sequence[Step]) -> Run:
        """Compile steps that run one after the other."""
        runs = [self.step(step) for step in steps]
        if len(runs) == 1:
            return runs[0]

        async def run(x: Exchange) -> None:
            for each in runs:
                await each(x)

        return run

    def step(self, step: Step) -> Run:
        """Compile one step; raises ConfigError for a setting that is missing."""
        match step:
            case CallStep():
                return self._call(step)
            case ParallelStep(parallel=inner):
                return _side_by_side([self.step(each) for each in inner])
            case SqlStep():
                return self._sql(step)
            case CacheStep(cache=access):
                return self._cache(access)
            case PublishStep(publish=message):
                return self._publish(message)
            case CpuStep(cpu=amount):
                return self._burn(amount)
            case LogStep():
                return self._log(step)
            case FailStep():
                return self._fail(step)
            case WhenStep():
                return self._when(step)
            case TokenStep(token=act):
                return self._token(act)
            case SleepStep(sleep=amount):
                return self._sleep(amount)

    def _call(self, step: CallStep) -> Run:
        target, method, path = step.call.split(" ", 2)
        client = self._use.clients[target]
        operation = client.operation(method, path)
        journal = self._use.journal
        render = templates.mapping(step.params) if step.params else None

        async def call(x: Exchange) -> None:
            params = x.params if render is None else {**x.params, **render(x.params)}
            await client.call(operation, x, params)

        fallback = self.sequence(step.fallback) if step.fallback else None

        async def call_if_possible(x: Exchange) -> None:
            try:
                await call(x)
            except RequestFailed as failed:
                fields = {"target": target, "error": failed.settled().problem.message}
                journal.write("WARN", f"continuing without {target}", fields, x)
                if fallback is not None:
                    await fallback(x)

        return call_if_possible if step.optional or fallback is not None else call

    def _sql(self, step: SqlStep) -> Run:
        database = self._use.database
        assert database is not None, "checked when the app was loaded"
        statement = database.statement(step.sql, templates.mapping(step.params))

        return lambda x: database.run(statement, x)

    def _cache(self, access: CacheAccess) -> Run:
        cache = self._use.cache
        assert cache is not None, "checked when the app was loaded"
        ttl_s = templates.setting(access.ttl, self._use.config)
        size = access.size
        key = templates.text(access.get or access.set or access.delete or "")
        if access.get is not None:
            fill = self.sequence(access.fill) if access.fill else None

            async def read_through(x: Exchange) -> None:
                name = key(x.params)
                if not await cache.get(name, x) and fill is not None:
                    await fill(x)
                    await cache.set(name, size, ttl_s, x)

            return read_through
        if access.set is not None:

            async def write(x: Exchange) -> None:
                await cache.set(key(x.params), size, ttl_s, x)

            return write

        async def delete(x: Exchange) -> None:
            await cache.delete(key(x.params), x)

        return delete

    def _publish(self, message: Publication) -> Run:
        queue, journal = self._use.queue, self._use.journal
        assert queue is not None, "checked when the app was loaded"
        outlet = queue.outlet(message)

        async def publish(x: Exchange) -> None:
            try:
                await queue.publish(outlet, x)
            except RequestFailed as failed:
                if not message.optional:
                    raise
                fields = {"subject": message.subject, "error": failed.settled().problem.message}
                journal.write("WARN", "continuing without publishing", fields, x)

        return publish

    def _burn(self, amount: Cpu) -> Run:
        draw = self._lognormal(amount)
        cpu, defects = self._use.host.cpu, self._use.defects

        async def burn(x: Exchange) -> None:
            if defects.stopped is not None:
                await defects.stopped.wait()
            await cpu.burn(draw() * defects.cpu_factor)

        return burn

    def _token(self, act: Literal["sign", "verify"]) -> Run:
        tokens = Tokens(self._use.config, self._use.host.clock)
        return tokens.sign if act == "sign" else tokens.verify

    def _sleep(self, amount: Cpu) -> Run:
        draw = self._lognormal(amount)
        clock = self._use.host.clock

        async def sleep(x: Exchange) -> None:
            await clock.sleep(draw())

        return sleep

    def _lognormal(self, amount: Cpu) -> Callable[[], float]:
        """Return a draw of seconds; mean and variation as ``seeds.lognormal`` defines them."""
        mean_s = amount.ms / 1000.0
        if mean_s <= 0.0 or amount.cv <= 0.0:
            return lambda: mean_s
        variance = math.log1p(amount.cv * amount.cv)
        mu, sigma = math.log(mean_s) - variance / 2.0, math.sqrt(variance)
        gauss, exp = self._use.host.random.gauss, math.exp
        return lambda: exp(gauss(mu, sigma))

    def _log(self, step: LogStep) -> Run:
        line, journal = step.log, self._use.journal
        level = line.level.upper()
        message = templates.text(line.msg)
        fields = templates.mapping(line.fields)
        enabled = journal.enabled(level)

        async def log(x: Exchange) -> None:
            if enabled:
                journal.write(level, message(x.params), fields(x.params), x)

        return log

    def _fail(self, step: FailStep) -> Run:
        draw = self._use.host.random.random
        problem = Problem(str(step.fail), step.message or f"status {step.fail}")

        async def fail(x: Exchange) -> None:
            if step.probability >= 1.0 or draw() < step.probability:
                raise RequestFailed(step.fail, problem)

        return fail

    def _when(self, step: WhenStep) -> Run:
        then = self.sequence(step.then)
        otherwise = self.sequence(step.otherwise) if step.otherwise else None
        draw, flags = self._use.host.random.random, self._use.flags
        probability = float(step.when.get("probability", 1.0))
        flag = str(step.when.get("flag", ""))
        wanted = [(k, as_text(v)) for k, v in step.when.items() if k not in WHEN_KEYS]

        async def when(x: Exchange) -> None:
            if (
                (not flag or flags.on(flag))
                and all(x.params.get(key) == value for key, value in wanted)
                and (probability >= 1.0 or draw() < probability)
            ):
                await then(x)
            elif otherwise is not None:
                await otherwise(x)

        return when


def _side_by_side(runs: Sequence[Run]) -> Run:
    return lambda x: Branches().run(runs, x)
