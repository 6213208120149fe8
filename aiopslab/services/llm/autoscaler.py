"""The autoscaler: runs as many engines as the forecast says, and more when caches fill up.

It plans (``planning``) and carries plans out through the cluster's API: an engine is a Deployment
of one replica or none, its machine is taken from and given back to the provider by the platform
agent. A new engine is ready when its machine is there and its weights are loaded. Modes:
``forecast`` plans for the load of past weeks, ``reactive`` for the load of the past minute, ``off``
changes nothing. Not here: machines (``platform_agent``), clocks (``power_mgr``).
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Literal, get_args

from aiopslab.models.kube import KubeError
from aiopslab.services.config import Config, ConfigError
from aiopslab.services.exchange import Exchange, RequestFailed
from aiopslab.services.llm.planning import HOURS, Unit, forecast, local_hour, offset_s, plan
from aiopslab.services.llm.process import Call, LlmProcess
from aiopslab.services.llm.profiles import PROFILES
from aiopslab.services.llm.router import region_of
from aiopslab.services.llm.routing import REFERENCE_MS
from aiopslab.services.protocols import Response

Mode = Literal["forecast", "reactive", "off"]
MODES: tuple[Mode, ...] = get_args(Mode)
_TICK_S = 10.0
_OBSERVED_S = 60.0
_HELD_S = 600.0
"""How long an engine that was added against full caches stays."""
_GRACE_S = 180.0
"""Patience with pods that end: longer than an engine takes to finish what it has."""
_LOADED_S = 300.0
_MOST_TPS = 1e12
"""What is written of a plan that a margin made absurd."""
_A100_COST = 0.55
"""Price of an A100 machine's hour relative to an H100 machine's (list prices of clouds)."""
SCALE_BUCKETS = (5.0, 15.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 240.0, 300.0, 600.0, 1200.0)


@dataclass(frozen=True, slots=True)
class Settings:
    """Keys of the autoscaler."""

    mode: Mode
    least: int
    most: int
    offset_s: float
    """Of the local time that the profile's hours are in, from UTC."""
    profile: tuple[float, ...]
    """Tokens a second by local hour."""
    margin: float
    """The plan carries this many times the forecast."""
    engine_tps: float
    """Of the fastest kind of engine."""
    override_kv: float
    plan_s: float

    @classmethod
    def read(cls, config: Config) -> Settings:
        """Read the keys; raises ConfigError."""
        offset = config.text("SCALE_TZ", "+00:00")
        profile = tuple(config.numbers("SCALE_PROFILE_TPS"))
        try:
            seconds = offset_s(offset)
        except ValueError:
            raise ConfigError("SCALE_TZ", offset, "an offset such as +02:00") from None
        if len(profile) != HOURS:
            raise ConfigError("SCALE_PROFILE_TPS", None, f"{HOURS} numbers")
        return cls(
            mode=config.choice("SCALE_MODE", "forecast", MODES),
            least=config.integer("SCALE_MIN", 3, least=1),
            most=config.integer("SCALE_MAX", 6, least=1),
            offset_s=seconds,
            profile=profile,
            margin=config.number("SCALE_MARGIN", 1.15),
            engine_tps=config.number("SCALE_ENGINE_TPS", 4000.0),
            override_kv=config.number("SCALE_OVERRIDE_KV", 0.8),
            plan_s=config.number("SCALE_PLAN_S", 60.0),
        )


class Autoscaler(LlmProcess):
    """Plans every minute, looks every ten seconds; serves ``POST /v1/forecast``."""

    def prepare(self, config: Config) -> None:
        self.settings = Settings.read(config)
        services = self.app.services
        self._pool = sorted(n for n, s in services.items() if s.program == "llm-engine")
        [self._router] = self.callees("llm-router")
        [self._platform] = self.callees("llm-platform-agent")
        self._ready: dict[str, bool] = {}
        self._wanted: list[str] = list(self._pool)
        self._busy: set[str] = set()
        self._added: list[float] = []
        self._full_ticks = 0
        self._tokens: deque[tuple[float, float]] = deque()
        self._forecast_tps = 0.0
        self._planned_at = 0.0
        self._due = True
        self._gpu_hours = self.telemetry.counter("llmserve_gpu_hours_total")
        gauge = self.instruments.gauge
        gauge("llmserve_autoscaler_desired", lambda: float(len(self._wanted)))
        gauge("llmserve_autoscaler_actual", lambda: float(sum(self._ready.values())))
        gauge("llmserve_autoscaler_forecast_tps", lambda: round(self._forecast_tps, 1))
        gauge("llmserve_autoscaler_observed_tps", lambda: round(self.observed_tps, 1))
        self.route("POST", "/v1/forecast", self._answer, traced=False)
        self.host.spawn(self._watch())

    def apply(self, config: Config) -> None:
        self.settings = Settings.read(config)
        self._due = True

    def status(self) -> dict[str, object]:
        now, settings = self.now(), self.settings
        return {
            "mode": settings.mode,
            "local_hour": local_hour(now, settings.offset_s),
            "forecast_tps": round(self._forecast_tps),
            "observed_tps": round(self.observed_tps),
            "wanted": self._wanted,
            "ready": sorted(name for name, ready in self._ready.items() if ready),
            "changing": sorted(self._busy),
        }

    @property
    def observed_tps(self) -> float:
        """Tokens a second that the router was given in the past minute."""
        if len(self._tokens) < 2:
            return 0.0
        (start, first), (end, last) = self._tokens[0], self._tokens[-1]
        return (last - first) / (end - start)

    async def _answer(self, call: Call) -> Response:
        peak = max(self.settings.profile)
        share = self._forecast_tps / peak if peak else 0.0
        found = {"tps": self._forecast_tps, "share": share, "at": self._planned_at}
        return Response(200, json.dumps(found))

    # -- looking and planning ---------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await self._look()
            now, settings = self.now(), self.settings
            if self._due or now - self._planned_at >= settings.plan_s:
                self._plan(now)
            if settings.mode != "off":
                await self._carry_out()
            await self.host.clock.sleep(_TICK_S)

    async def _look(self) -> None:
        found = await self.ask(self._router, "/v1/stats") or {}
        now, tokens = self.now(), float(str(found.get("tokens", 0.0)))
        if self._tokens and tokens < self._tokens[-1][1]:
            self._tokens.clear()  # the router began to count again
        self._tokens.append((now, tokens))
        while self._tokens[0][0] < now - _OBSERVED_S - 1.0:
            self._tokens.popleft()
        usage = found.get("usage")
        self._override(now, max(usage.values(), default=0.0) if isinstance(usage, dict) else 0.0)
        for name in self._pool:
            try:
                self._ready[name] = (await self.host.cluster.scale_of(name)).ready > 0
            except KubeError:
                self._ready[name] = False
            if self._ready[name]:
                self._gpu_hours.add(_gpus(self.app.services[name].config) * _TICK_S / 3600.0)

    def _override(self, now: float, fullest: float) -> None:
        """Add an engine when the caches of a region are full twice in a row."""
        self._added = [at for at in self._added if now - at < _HELD_S]
        self._full_ticks = self._full_ticks + 1 if fullest > self.settings.override_kv else 0
        if self._full_ticks >= 2 and not self._busy and len(self._added) < len(self._pool):
            self._full_ticks = 0
            self._added.append(now)
            self._due = True
            self.journal.write("WARN", "caches are full, one engine more", {"kv": f"{fullest:.2f}"})

    def _plan(self, now: float) -> None:
        settings = self.settings
        self._planned_at, self._due = now, False
        self._forecast_tps = forecast(settings.profile, now, settings.offset_s)
        load = self.observed_tps if settings.mode == "reactive" else self._forecast_tps
        if settings.mode == "reactive" and not load:
            return  # nothing was observed so far
        before, running = self._wanted, [n for n, ready in self._ready.items() if ready]
        self._wanted = plan(
            self._units(),
            load * settings.margin,
            least=min(settings.least + len(self._added), len(self._pool)),
            most=settings.most,
            running=running,
        )
        if settings.mode != "off" and self._wanted != before:
            fields: dict[str, str | int] = {
                "mode": settings.mode,
                "local_hour": local_hour(now, settings.offset_s),
                "planned_tps": round(min(load * settings.margin, _MOST_TPS)),
                "engines": ",".join(self._wanted),
            }
            self.journal.write("INFO", f"plan: {len(before)} -> {len(self._wanted)}", fields)

    def _units(self) -> list[Unit]:
        units = []
        for name in self._pool:
            config = self.app.services[name].config
            gpu = config.get("ENGINE_GPU", "h100")
            profile = PROFILES[f"70b-{gpu}-tp{config.get('ENGINE_TP', '8')}"]
            tps = self.settings.engine_tps * REFERENCE_MS / profile.prefill_ms
            units.append(Unit(name, region_of(name), tps, _A100_COST if gpu == "a100" else 1.0))
        return units

    # -- carrying out -----------------------------------------------------------------------------

    async def _carry_out(self) -> None:
        for name in self._pool:
            if name in self._busy:
                continue
            try:
                wanted = (await self.host.cluster.scale_of(name)).wanted > 0
            except KubeError as error:
                self.journal.write("ERROR", "cannot look at an engine", {"error": str(error)})
                continue
            if wanted != (name in self._wanted):
                self._busy.add(name)
                self.host.spawn(self._change(name, on=not wanted))

    async def _change(self, name: str, *, on: bool) -> None:
        start = self.now()
        try:
            done = await (self._grow(name) if on else self._shrink(name))
        except KubeError as error:
            self.journal.write("ERROR", f"cannot scale {name}", {"error": str(error)})
            done = False
        finally:
            self._busy.discard(name)
        if done:
            took = self.now() - start
            kind = "scale_out" if on else "scale_in"
            events = self.telemetry.histogram
            events("llmserve_scale_event_seconds", SCALE_BUCKETS, kind=kind).observe(took)
            self.journal.write("INFO", f"{kind} of {name} is done", {"seconds": round(took)})

    async def _grow(self, name: str) -> bool:
        if not await self._machine("acquire", name):
            return False
        if name not in self._wanted:
            return False  # the plan changed while the machine came
        await self.host.cluster.scale(name, 1)
        deadline = self.now() + _LOADED_S
        while (await self.host.cluster.scale_of(name)).ready < 1:
            if self.now() > deadline or name not in self._wanted:
                return False
            await self.host.clock.sleep(2.0)
        return True

    async def _shrink(self, name: str) -> bool:
        await self.host.cluster.scale(name, 0)
        deadline = self.now() + _GRACE_S
        while await self.host.cluster.pods(name) and self.now() < deadline:
            await self.host.clock.sleep(2.0)
        return await self._machine("release", name)

    async def _machine(self, act: str, name: str) -> bool:
        """Take the machine of an engine from the provider, or give it back."""
        machine = self.app.services[name].node or ""
        try:
            x = Exchange(self.telemetry.new_trace_id(), self.telemetry.new_span_id(), {})
            await self.call(self._platform, f"/v1/{act}", x, {"machine": machine})
        except RequestFailed as failed:
            fields: dict[str, str | int] = {"machine": machine, "error": str(failed)}
            self.journal.write("WARN", f"{act} failed, tried again later", fields)
            return False
        return True


def _gpus(config: object) -> int:
    """Return the GPUs of an engine by its keys."""
    tp = config.get("ENGINE_TP", "8") if isinstance(config, dict) else "8"
    return int(str(tp))
