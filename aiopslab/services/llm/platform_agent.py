"""The platform agent: the machines of the pool, between the cluster and the provider's API.

It gives machines that are not needed back to the provider, who lends them out as spot capacity, and
takes them again; it follows notices that a machine will be taken away and drains its engine first.
The provider wants a token that expires; the agent mints one from its own identity and renews it.
Not here: which engines are needed (``autoscaler``), the provider (``world.externals``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from aiopslab.models.kube import KubeError
from aiopslab.services.cluster import Machine
from aiopslab.services.config import Config
from aiopslab.services.exchange import RequestFailed
from aiopslab.services.languages import Problem
from aiopslab.services.llm.autoscaler import SCALE_BUCKETS
from aiopslab.services.llm.process import Call, LlmProcess
from aiopslab.services.protocols import Response

NOTICE = "gpu-cloud.example/terminates-at"
"""Annotation of a node that the provider will take away: unix seconds."""
_POLL_S = 2.0
Hook = Literal["drain", "none"]
HOOKS: tuple[Hook, ...] = get_args(Hook)


@dataclass(frozen=True, slots=True)
class Settings:
    """Keys of the platform agent."""

    hook: Hook
    """What is done about a machine that will be taken away."""
    ttl_s: float
    """Life of a token."""
    renew_s: float
    """From one token to the next."""

    @classmethod
    def read(cls, config: Config) -> Settings:
        """Read the keys; raises ConfigError."""
        return cls(
            hook=config.choice("PLATFORM_EVICTION_HOOK", "drain", HOOKS),
            ttl_s=config.number("PLATFORM_TOKEN_TTL_S", 3600.0),
            renew_s=config.number("PLATFORM_TOKEN_RENEW_S", 2400.0),
        )


class PlatformAgent(LlmProcess):
    """Serves ``POST /v1/acquire`` and ``/v1/release`` for one machine each."""

    def prepare(self, config: Config) -> None:
        self.settings = Settings.read(config)
        services = self.app.services
        self._engines = {str(services[e].node): e for e in self.callees("llm-engine")}
        [self._provider] = [c for c in self.service.calls if c in self.app.externals]
        self._machines: dict[str, Machine] = {}
        self._noticed: dict[str, str] = {}
        """Machines with a notice, and the notice that was acted on."""
        self._token, self._minted_at = "", -1e9
        gauge = self.instruments.gauge
        for machine, engine in sorted(self._engines.items()):
            self._gauge(machine, engine)
        gauge("llmserve_platform_token_expiry_timestamp_seconds", lambda: _end(self._token))
        self.route("POST", "/v1/acquire", self._acquire)
        self.route("POST", "/v1/release", self._release)
        self.host.spawn(self._watch())

    def _gauge(self, machine: str, engine: str) -> None:
        def lent() -> float:
            found = self._machines.get(machine)
            return float(found is not None and self._lent(machine, found))

        self.instruments.gauge("llmserve_platform_machine_lent", lent, machine=machine, vq=engine)

    def apply(self, config: Config) -> None:
        before = getattr(self, "settings", None)
        self.settings = Settings.read(config)
        if before != self.settings:
            self._minted_at = -1e9

    def status(self) -> dict[str, object]:
        left = _end(self._token) - self.now()
        machines = {
            name: "evicting" if NOTICE in m.annotations else "lent" if not m.schedulable else "ours"
            for name, m in sorted(self._machines.items())
        }
        return {
            "eviction_hook": self.settings.hook,
            "token": "valid" if left > 0 else "expired",
            "token_seconds_left": round(max(0.0, left)),
            "machines": machines,
        }

    def control(self, verb: str, words: Sequence[str]) -> str | None:
        if verb != "renew-token" or words:
            return None
        self._mint()
        return f"token renewed, valid for {self.settings.ttl_s:.0f} s"

    async def _watch(self) -> None:
        while True:
            if self.now() - self._minted_at >= self.settings.renew_s:
                self._mint()
            for name in self._engines:
                try:
                    self._machines[name] = await self.host.cluster.machine(name)
                except KubeError as error:
                    self.journal.write("ERROR", f"cannot see {name}", {"error": str(error)})
                    continue
                await self._follow(name, self._machines[name])
            await self.host.clock.sleep(_POLL_S)

    def _mint(self) -> None:
        now = self.now()
        self._token, self._minted_at = f"{self.name}.{int(now + self.settings.ttl_s)}", now
        self.journal.write("INFO", "token renewed", {"ttl_s": round(self.settings.ttl_s)})

    # -- lending ----------------------------------------------------------------------------------

    def _lent(self, name: str, machine: Machine) -> bool:
        return not machine.schedulable and name not in self._noticed

    async def _acquire(self, call: Call) -> Response:
        name = self._known(call)
        machine = await self._look(name)
        if not self._lent(name, machine):
            return Response(200, json.dumps({"machine": name}))
        start = self.now()
        await self._ask_provider(call, "reclaim", name)
        await self._cordon(name, on=False)
        took = self.now() - start
        self.telemetry.histogram(
            "llmserve_scale_event_seconds", SCALE_BUCKETS, kind="reclaim"
        ).observe(took)
        self.journal.write("INFO", f"{name} is ours again", {"seconds": round(took)}, call.x)
        return Response(200, json.dumps({"machine": name}))

    async def _release(self, call: Call) -> Response:
        name = self._known(call)
        await self._ask_provider(call, "donate", name)
        await self._cordon(name, on=True)
        self.journal.write("INFO", f"{name} is lent to the provider", None, call.x)
        return Response(200, json.dumps({"machine": name}))

    def _known(self, call: Call) -> str:
        name = call.params.get("machine", "")
        if name not in self._engines:
            raise ValueError(f"no machine {name!r} in the pool")
        return name

    async def _look(self, name: str) -> Machine:
        try:
            return await self.host.cluster.machine(name)
        except KubeError as error:
            raise RequestFailed(503, Problem("503", str(error))) from None

    async def _cordon(self, name: str, *, on: bool) -> None:
        try:
            await self.host.cluster.cordon(name, on=on)
        except KubeError as error:
            raise RequestFailed(503, Problem("503", str(error))) from None

    async def _ask_provider(self, call: Call, act: str, name: str) -> None:
        counter = self.telemetry.counter
        params = {"machine": name, "token": self._token}
        try:
            await self.call(self._provider, f"/v1/{act}", call.x, params)
        except RequestFailed as failed:
            code = failed.problem.type
            counter("llmserve_platform_requests_total", operation=act, code=code).add()
            fields: dict[str, str | int] = {"machine": name, "error": str(failed)}
            self.journal.write("ERROR", f"the provider refused to {act} a machine", fields, call.x)
            raise RequestFailed(503, Problem("503", f"{act} of {name}: {failed}")) from None
        counter("llmserve_platform_requests_total", operation=act, code="200").add()

    # -- evictions --------------------------------------------------------------------------------

    async def _follow(self, name: str, machine: Machine) -> None:
        """Act on a notice once; bring the machine back into use when it is over."""
        notice = machine.annotations.get(NOTICE, "")
        if notice == self._noticed.get(name, ""):
            return
        engine = self._engines[name]
        if not notice:
            del self._noticed[name]
            await self._back(name, machine)
            return
        self._noticed[name] = notice
        self.telemetry.counter("llmserve_platform_eviction_notices_total", machine=name).add()
        left = round(float(notice) - self.now())
        fields: dict[str, str | int] = {"seconds_left": left, "hook": self.settings.hook}
        self.journal.write("WARN", f"{name} will be taken away", fields)
        if self.settings.hook == "none":
            return
        await self._guarded(name, on=True)
        found = await self.ask(engine, "/v1/drain")
        self.journal.write("INFO", f"{engine} is drained" if found else f"{engine} does not answer")

    async def _back(self, name: str, machine: Machine) -> None:
        self.journal.write("INFO", f"{name} is back")
        if not machine.schedulable:
            await self._guarded(name, on=False)
        await self.ask(self._engines[name], "/v1/drain", {"on": "false"})

    async def _guarded(self, name: str, *, on: bool) -> None:
        try:
            await self.host.cluster.cordon(name, on=on)
        except KubeError as error:
            self.journal.write("ERROR", f"cannot cordon {name}", {"error": str(error)})


def _end(token: str) -> float:
    """Return when a token ends (unix seconds); 0 without one."""
    _, _, end = token.rpartition(".")
    return float(end or 0)
