"""The image encoder: turns images into embeddings before the language model sees the request.

So many encodings at a time, the rest queue. Not here: encoding by the engines themselves, where the
gateway is told so (``engine``).
"""

from __future__ import annotations

from dataclasses import dataclass

from aiopslab.services.config import Config
from aiopslab.services.llm.process import Call, LlmProcess
from aiopslab.services.protocols import Response
from aiopslab.services.workers import Workers

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0)
_QUEUE = 512


@dataclass(frozen=True, slots=True)
class Settings:
    """Keys of the encoder."""

    slots: int
    image_s: float
    """Time of one image in one slot."""

    @classmethod
    def read(cls, config: Config) -> Settings:
        """Read the keys; raises ConfigError."""
        return cls(
            slots=config.integer("ENCODER_SLOTS", 4, least=1),
            image_s=config.seconds("ENCODER_IMAGE_MS", 60),
        )


class Encoder(LlmProcess):
    """Serves ``POST /v1/encode``."""

    def prepare(self, config: Config) -> None:
        self.settings = Settings.read(config)
        self._slots = Workers(self.settings.slots, _QUEUE)
        self._queued = self.telemetry.histogram("llmserve_encoder_queue_seconds", _BUCKETS)
        self._encoded = self.telemetry.counter("llmserve_encoder_images_total")
        self.instruments.gauge("llmserve_encoder_waiting", lambda: float(self._slots.waiting))
        self.route("POST", "/v1/encode", self._encode)

    def apply(self, config: Config) -> None:
        self.settings = Settings.read(config)

    def status(self) -> dict[str, object]:
        return {"active": self._slots.active, "waiting": self._slots.waiting}

    async def _encode(self, call: Call) -> Response:
        start = self.now()
        if not await self._slots.enter():
            return Response(503, "encoder queue is full")
        self._queued.observe(self.now() - start)
        images = max(1, call.number("images", 1))
        try:
            await self.host.clock.sleep(images * self.settings.image_s)
        finally:
            self._slots.leave()
        self._encoded.add(images)
        return Response(200, "encoded")
