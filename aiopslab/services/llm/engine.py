"""An inference engine: serves completions by continuous batching, in virtual time.

``batching`` says what is in an iteration, ``profiles`` how long it takes on this hardware; here the
time passes, and what came of it goes out under vLLM's metric names. The machine's conditions (power
cap, inlet temperature) act through ``gpu``. Not here: who sends requests (``queue_mgr``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence as Words
from dataclasses import dataclass

from aiopslab.services.config import Config
from aiopslab.services.llm.batching import Batcher, Limits, Run, Sequence
from aiopslab.services.llm.engine_metrics import EngineMetrics
from aiopslab.services.llm.gpu import Gpu
from aiopslab.services.llm.kvcache import BLOCK_TOKENS, KvCache
from aiopslab.services.llm.pauses import pairs
from aiopslab.services.llm.process import Call, LlmProcess
from aiopslab.services.llm.profiles import PROFILES, Profile, Strain, strained
from aiopslab.services.protocols import Response

_DEFAULT_KV_UTIL = 0.9
"""vLLM's default of ``gpu_memory_utilization``, at which a profile's KV capacity holds."""
_WEIGHTS_SHARE = 0.42
"""Part of a GPU's memory that weights and activations take before any cache (modelled)."""
IMAGE_MS = 350.0
"""Time that encoding one image takes an engine, where images are encoded there."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Keys of an engine; all are read at start, but the clock."""

    profile: Profile
    profile_name: str
    kv_util: float
    limits: Limits
    quant: str
    prefix_caching: bool
    model: str

    @classmethod
    def read(cls, config: Config) -> Settings:
        """Read the keys; raises ConfigError."""
        gpu = config.choice("ENGINE_GPU", "h100", ("h100", "a100"))
        tp = config.choice("ENGINE_TP", "8", ("2", "4", "8"))
        name = f"70b-{gpu}-tp{tp}"
        return cls(
            profile=PROFILES[name],
            profile_name=name,
            kv_util=config.number("ENGINE_KV_UTIL", _DEFAULT_KV_UTIL),
            limits=Limits(
                max_num_seqs=config.integer("ENGINE_MAX_NUM_SEQS", 64, least=1),
                chunk_tokens=config.integer("ENGINE_CHUNK_TOKENS", 512),
                long_prefill_tokens=config.integer("ENGINE_LONG_PREFILL_TOKENS", 256),
            ),
            quant=config.choice("ENGINE_QUANT", "fp16", ("fp16", "int4")),
            prefix_caching=config.boolean("ENGINE_PREFIX_CACHING", True),
            model=config.text("ENGINE_MODEL", "llm-70b"),
        )

    @property
    def kv_blocks(self) -> int:
        """Blocks of the cache: what memory is left beside weights, by the utilisation."""
        share = (self.kv_util - _WEIGHTS_SHARE) / (_DEFAULT_KV_UTIL - _WEIGHTS_SHARE)
        return max(64, int(self.profile.kv_tokens * share) // BLOCK_TOKENS)


class Engine(LlmProcess):
    """Serves ``POST /v1/completions``."""

    request_cpu_s = 0.0015

    def prepare(self, config: Config) -> None:
        self.settings = settings = Settings.read(config)
        self.kv = KvCache(settings.kv_blocks)
        self.batcher = Batcher(settings.limits, self.kv, settings.profile)
        self.gpu = Gpu(settings.profile, self.host.hardware, self.now())
        self.drained = False
        self._bell = self.host.clock.alarm()
        self._metrics = EngineMetrics(self.telemetry, self.instruments, settings.model)
        self._metrics.register(self.batcher, settings.kv_util)
        self._metrics.hardware(self.gpu, self.name)
        self._canary()
        self.route("POST", "/v1/completions", self._complete)
        self.route("POST", "/v1/stats", self._stats, traced=False)
        self.route("POST", "/v1/limits", self._limits, traced=False)
        self.route("POST", "/v1/drain", self._drain, traced=False)
        self.host.spawn(self._work())
        self.host.spawn(self._watch())

    def apply(self, config: Config) -> None:
        clock = config.number("ENGINE_CLOCK_MHZ", 1980.0)
        self.gpu.set_clock(clock)

    def status(self) -> dict[str, object]:
        batcher = self.batcher
        return {
            "state": self.state,
            "profile": self.settings.profile_name,
            "quant": self.settings.quant,
            "running": len(batcher.running),
            "waiting": len(batcher.waiting),
            "kv_usage": round(self.kv.usage, 4),
            "kv_blocks": self.kv.total,
            "preemptions": batcher.preemptions,
        }

    @property
    def state(self) -> str:
        """``serving``, or ``draining``: takes nothing new."""
        return "draining" if self.drained or self.draining else "serving"

    def control(self, verb: str, words: Words[str]) -> str | None:
        if verb not in ("drain", "resume") or words:
            return None
        self.drained = verb == "drain"
        self.journal.write("INFO", f"{verb} requested by an operator")
        return f"{self.name} is {self.state}"

    async def _stats(self, call: Call) -> Response:
        found = {
            "state": self.state,
            "kv_usage": round(self.kv.usage, 4),
            "waiting": len(self.batcher.waiting),
            "running": len(self.batcher.running),
            "prefill_ms": self.settings.profile.prefill_ms,
            "watts": round(self.gpu.watts * self.settings.profile.gpus, 1),
            "peak_watts": self.settings.profile.peak_watts * self.settings.profile.gpus,
            "inlet_celsius": self.gpu.inlet,
            "throttled": self.gpu.reasons,
        }
        return Response(200, json.dumps(found))

    async def _limits(self, call: Call) -> Response:
        """Follow the power manager; the lower of its clock and the key's counts."""
        mhz, share = float(call.params["mhz"]), float(call.params["share"])
        before = (self.gpu.clock_ratio, self.gpu.cap_watts)
        self.gpu.limit(mhz, share)
        if before != (self.gpu.clock_ratio, self.gpu.cap_watts):
            watts = round(self.gpu.cap_watts)
            fields: dict[str, str | int] = {"mhz": round(mhz), "watts_per_gpu": watts}
            self.journal.write("INFO", "limits of clock and power were set", fields)
        return Response(200, json.dumps({"watts": self.gpu.cap_watts}))

    async def _drain(self, call: Call) -> Response:
        """Take nothing new until the process ends, or ``on=false``."""
        self.drained = call.params.get("on", "true") == "true"
        self.journal.write("INFO", "drain requested" if self.drained else "drain ended")
        return Response(200, json.dumps({"running": len(self.batcher.running)}))

    # -- requests ---------------------------------------------------------------------------------

    async def _complete(self, call: Call) -> Response:
        done = self.host.clock.alarm()
        sequence = Sequence(
            prompt=max(1, call.number("prompt_tokens", 1)),
            reply=max(1, call.number("reply_tokens", 1)),
            key=call.params.get("session", "") if self.settings.prefix_caching else "",
            shared=call.number("shared_tokens"),
            on_first=call.emit,
            on_end=done.ring,
        )
        if not self.batcher.submit(sequence, self.now()):
            return Response(400, "the request is longer than the KV cache")
        if images := call.number("images"):
            self._images_s += images * IMAGE_MS / 1000.0
        self._bell.ring()
        await done.wait(None)
        self._metrics.served(sequence)
        self._trace(call, sequence)
        return Response(200, "", pauses=pairs(sequence.pauses))

    def _trace(self, call: Call, sequence: Sequence) -> None:
        call.attributes |= {
            "gen_ai.request.model": self.settings.model,
            "gen_ai.usage.input_tokens": sequence.prompt,
            "gen_ai.usage.output_tokens": sequence.generated,
            "llmserve.preemptions": sequence.preemptions,
            "llmserve.cached_tokens": sequence.reused,
        }
        for name, start, end in (
            ("engine queue", sequence.arrived_at, sequence.started_at),
            ("prefill", sequence.started_at, sequence.first_at),
            ("decode", sequence.first_at, sequence.ended_at),
        ):
            if end - start > 1e-6:
                self.span(call.x, name, start, end)

    # -- the work ---------------------------------------------------------------------------------

    _images_s = 0.0
    """Seconds of image encoding that the next iteration has to do first."""

    async def _work(self) -> None:
        batcher, bell = self.batcher, self._bell
        while True:
            strain = Strain(
                clock=self.gpu.clock_ratio,
                prefill=self.gpu.prefill_factor,
                all=self.gpu.slowdown,
                quant=self.settings.quant,
            )
            batcher.profile = strained(self.settings.profile, strain)
            run = batcher.plan(self.now())
            if run is None:
                await bell.wait(None)
                continue
            if self._images_s:
                # Encoding takes the GPUs before the iteration does: everybody waits for it.
                run.iteration_s, run.count = run.iteration_s + self._images_s, 1
                self._images_s = 0.0
            await self._iterate(run)

    async def _iterate(self, run: Run) -> None:
        """Let a run's time pass; who arrives meanwhile ends it with the iteration under way."""
        start, count, bell = self.now(), run.count, self._bell
        while (left := start + count * run.iteration_s - self.now()) > 1e-9:
            if await bell.wait(left):
                count = min(count, max(1, math.ceil((self.now() - start) / run.iteration_s)))
        now = self.now()
        self.gpu.worked(run, count, now)
        self._metrics.iterated(run, count)
        self.batcher.commit(run, count, now)

    async def _watch(self) -> None:
        """Follow the machine's sensors."""
        while True:
            await self.host.clock.sleep(1.0)
            for line in self.gpu.step(self.now()):
                self.journal.write("WARN", line)

    def _canary(self) -> None:
        """Export how many of the quality canaries this engine's answers pass."""
        ratio = 0.97 if self.settings.quant == "fp16" else 0.81
        wobble = self.host.random

        def read() -> float:
            return min(1.0, max(0.0, wobble.gauss(ratio, 0.006)))

        self.instruments.gauge("llmserve_quality_canary_pass_ratio", read)
