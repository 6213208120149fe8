"""What a language's runtime does and shows beside requests: heap, collections, metrics.

Every figure follows from the state of the process (requests in flight, memory held, connections);
collections burn CPU. Not here: RED metrics (``instruments``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from aiopslab.models.service import Service
from aiopslab.models.workload import Language
from aiopslab.services.defects import Defects, Params
from aiopslab.services.instruments import Instruments
from aiopslab.services.protocols import Histogram, Host
from aiopslab.services.workers import Workers

_BASE_FDS = 9
"""Standard streams, epoll, event and timer descriptors, the listening socket."""
_EDEN = 24 * 2**20
"""Bytes a Java or Go process allocates between two collections."""
_PAUSE_S_PER_GIB = 0.06
"""Pause of a young collection per GiB of live heap; the order of G1 on a small heap."""
_GC_PERIOD_S = 5.0
_COLLECTIONS: dict[Language, str] = {
    "go": "go_gc_duration_seconds",
    "java": "jvm_gc_duration_seconds",
    "node": "nodejs_gc_duration_seconds",
    "python": "python_gc_duration_seconds",
}
"""Histogram of pauses by language."""


@dataclass(slots=True)
class Heap:
    """Memory of the process: base, requests in flight, and what a defective release keeps."""

    host: Host
    service: Service
    defects: Defects
    leaked: int = 0
    allocated: int = 0
    """Bytes allocated since the last collection."""
    keys: set[str] = field(default_factory=set)
    """Distinct keys in a cache inside the process that has no bound."""

    def start(self) -> None:
        """Hold what the process needs without any request."""
        self.host.memory.hold("heap", self.service.memory_base)

    def served(self, params: Params) -> None:
        """Count a request's allocations, and what a defect keeps of it."""
        self.allocated += self.service.memory_per_request
        kept = self.defects.leaked(params)
        for key, size in self.defects.kept(params):
            if key not in self.keys:
                self.keys.add(key)
                kept += size
        if kept:
            self.leaked += kept
            self.host.memory.hold("heap", self.service.memory_base + self.leaked)

    def working(self, messages: int) -> None:
        """Hold what messages that are worked on need."""
        self.host.memory.hold("messages", messages * self.service.memory_per_request)

    def in_flight(self, requests: int) -> None:
        """Hold what requests in flight need."""
        self.host.memory.hold("requests", requests * self.service.memory_per_request)


class Runtime:
    """Runtime metrics and the collector of one process."""

    def __init__(
        self, host: Host, service: Service, heap: Heap, workers: Workers, pooled: Callable[[], int]
    ) -> None:
        self._host = host
        self._heap = heap
        self._workers = workers
        self._pooled = pooled
        self._lag_s = 0.0
        self._language = service.language
        self._limit = workers.size

    def register(self, instruments: Instruments, version: str, started: float) -> None:
        """Register the gauges of the language, and start its collector."""
        gauge, used = instruments.gauge, self._host.memory.used
        gauge("app_build_info", lambda: 1.0, version=version, language=self._language)
        gauge("process_start_time_seconds", lambda: started)
        gauge("process_resident_memory_bytes", lambda: float(used()))
        gauge("process_open_fds", lambda: float(_BASE_FDS + self._pooled() + self._requests()))
        match self._language:
            case "go":
                gauge("go_goroutines", lambda: 7.0 + self._pooled() + 2 * self._requests())
                gauge("go_memstats_heap_alloc_bytes", lambda: float(self._live()))
                self._collector()
            case "java":
                gauge("jvm_memory_used_bytes", lambda: float(self._live()), jvm_memory_type="heap")
                gauge("jvm_thread_count", lambda: 18.0 + min(self._requests(), self._limit))
                self._collector()
            case "node":
                gauge("nodejs_heap_size_used_bytes", lambda: float(self._live()))
                gauge("nodejs_eventloop_lag_seconds", lambda: self._lag_s)
                self._host.spawn(self._watch_lag())
            case "python":
                gauge("process_threads", lambda: 2.0 + min(self._requests(), self._limit))

    def _requests(self) -> int:
        return self._workers.active + self._workers.waiting

    def _live(self) -> int:
        return min(self._host.memory.used() + self._heap.allocated, 2 * self._host.memory.used())

    async def collect_by_force(self) -> None:
        """Stop the world whenever a defect asks for it: nothing of the process runs meanwhile."""
        pauses = self._pauses(_COLLECTIONS[self._language])
        defects, clock = self._heap.defects, self._host.clock
        while True:
            await clock.sleep(defects.pause_every_s or _GC_PERIOD_S)
            if defects.pause_s:
                start = clock.now()
                with defects.standstill():
                    await self._host.cpu.burn(defects.pause_s)
                pauses.observe(clock.now() - start)

    def _pauses(self, metric: str) -> Histogram:
        return self._host.telemetry.histogram(metric, (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0))

    def _collector(self) -> None:
        pauses = self._pauses(_COLLECTIONS[self._language])

        async def collect() -> None:
            while True:
                await self._host.clock.sleep(_GC_PERIOD_S)
                if self._heap.allocated < _EDEN:
                    continue
                self._heap.allocated = 0
                start = self._host.clock.now()
                await self._host.cpu.burn(self._host.memory.used() / 2**30 * _PAUSE_S_PER_GIB)
                pauses.observe(self._host.clock.now() - start)

        self._host.spawn(collect())

    async def _watch_lag(self) -> None:
        """Measure how late a millisecond of work on the event loop is done."""
        work_s = 0.001
        while True:
            await self._host.clock.sleep(_GC_PERIOD_S)
            start = self._host.clock.now()
            await self._host.cpu.burn(work_s)
            self._lag_s = max(0.0, self._host.clock.now() - start - work_s)
