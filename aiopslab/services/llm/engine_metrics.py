"""What an engine exports: vLLM's metric names for serving, DCGM's for the GPUs.

Counted where it happens; the GPU figures are those of the model in ``gpu``. Not here: the
platform's own metrics (``llmserve_*``), which each program registers itself.
"""

from __future__ import annotations

from collections.abc import Callable

from aiopslab.services.instruments import Instruments
from aiopslab.services.llm.batching import Batcher, Run, Sequence
from aiopslab.services.llm.gateway import E2E_BUCKETS, TTFT_BUCKETS
from aiopslab.services.llm.gpu import Gpu
from aiopslab.services.protocols import Telemetry

ITL_BUCKETS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
)  # fmt: skip
_TOKEN_BUCKETS = (
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0,
    50000.0, 100000.0,
)  # fmt: skip
_FB_MIB = 81_559.0


class EngineMetrics:
    """The instruments of one engine."""

    def __init__(self, telemetry: Telemetry, instruments: Instruments, model: str) -> None:
        self._gauge = instruments.gauge
        self._labels = {"model_name": model, "engine": "0"}
        labels = self._labels

        def seconds(name: str) -> Callable[[float], None]:
            return telemetry.histogram(f"vllm:{name}_seconds", E2E_BUCKETS, **labels).observe

        self._ttft = telemetry.histogram("vllm:time_to_first_token_seconds", TTFT_BUCKETS, **labels)
        self._itl = telemetry.histogram("vllm:inter_token_latency_seconds", ITL_BUCKETS, **labels)
        self._e2e = seconds("e2e_request_latency")
        self._queue = seconds("request_queue_time")
        self._prefill = seconds("request_prefill_time")
        self._decode = seconds("request_decode_time")
        self._prompt = telemetry.histogram("vllm:request_prompt_tokens", _TOKEN_BUCKETS, **labels)
        self._generated = telemetry.histogram(
            "vllm:request_generation_tokens", _TOKEN_BUCKETS, **labels
        )
        self._iteration = telemetry.histogram(
            "vllm:iteration_tokens_total", _TOKEN_BUCKETS, **labels
        )
        self._prompt_total = telemetry.counter("vllm:prompt_tokens_total", **labels)
        self._generation_total = telemetry.counter("vllm:generation_tokens_total", **labels)
        self._stopped = telemetry.counter(
            "vllm:request_success_total", finished_reason="stop", **labels
        )

    def register(self, batcher: Batcher, kv_util: float) -> None:
        """Register what is read from the scheduler."""
        labels, kv = self._labels, batcher.kv

        def gauge(name: str, read: Callable[[], float]) -> None:
            self._gauge(f"vllm:{name}", read, **labels)

        gauge("num_requests_running", lambda: float(len(batcher.running)))
        gauge("num_requests_waiting", lambda: float(len(batcher.waiting)))
        gauge("kv_cache_usage_perc", lambda: kv.usage)
        gauge("num_preemptions_total", lambda: float(batcher.preemptions))
        gauge("prefix_cache_queries_total", lambda: float(batcher.prefix_queries))
        gauge("prefix_cache_hits_total", lambda: float(batcher.prefix_hits))
        self._gauge(
            "vllm:cache_config_info", lambda: 1.0, block_size="16",
            num_gpu_blocks=str(kv.total), gpu_memory_utilization=f"{kv_util:g}",
            enable_prefix_caching="True", **labels,
        )  # fmt: skip

    def hardware(self, gpu: Gpu, hostname: str) -> None:
        """Register what DCGM's exporter tells of each GPU."""
        reads: dict[str, Callable[[], float]] = {
            "GPU_UTIL": lambda: round(100.0 * gpu.utilisation),
            "SM_CLOCK": lambda: gpu.clock_mhz,
            "GPU_TEMP": lambda: round(gpu.celsius),
            "POWER_USAGE": lambda: round(gpu.watts, 1),
            "POWER_VIOLATION": lambda: gpu.power_violation_s * 1e9,
            "THERMAL_VIOLATION": lambda: gpu.thermal_violation_s * 1e9,
            "CLOCKS_EVENT_REASONS": lambda: gpu.reasons,
            "TOTAL_ENERGY_CONSUMPTION": lambda: gpu.energy_j * 1000.0,
            "FB_USED": lambda: 0.9 * _FB_MIB,
            "XID_ERRORS": lambda: 0.0,
        }
        for index in range(gpu.profile.gpus):
            labels = {"gpu": str(index), "device": f"nvidia{index}", "Hostname": hostname,
                      "modelName": gpu.profile.gpu}  # fmt: skip
            for name, read in reads.items():
                self._gauge(f"DCGM_FI_DEV_{name}", read, **labels)

    def iterated(self, run: Run, count: int) -> None:
        """Count iterations: their length is the pause that each decoding sequence sees."""
        decoding = len(run.decoding)
        if decoding:
            self._itl.observe(run.iteration_s, count * decoding)
            self._generation_total.add(count * decoding)
        self._iteration.observe(decoding + run.prefill_tokens, count)

    def served(self, sequence: Sequence) -> None:
        """Count a request that has ended."""
        arrived, started, first = sequence.arrived_at, sequence.started_at, sequence.first_at
        self._ttft.observe(first - arrived)
        self._e2e(sequence.ended_at - arrived)
        self._queue(started - arrived)
        self._prefill(first - started)
        self._decode(sequence.ended_at - first)
        self._prompt.observe(sequence.prompt)
        self._generated.observe(sequence.generated)
        self._prompt_total.add(sequence.prompt)
        self._generation_total.add(1)
        self._stopped.add()
