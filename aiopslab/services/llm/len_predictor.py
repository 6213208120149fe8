"""The length predictor: how many tokens an answer will have, before it is written.

A small model's forecast: right in the order of magnitude, log-normally off, learned per version of
the artefact. It compares forecasts with what came out and exports the error and the rank
correlation. Not here: who uses the forecast (queue managers, router).
"""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass
from typing import Literal, get_args

from aiopslab.services.config import Config
from aiopslab.services.llm.process import Call, LlmProcess
from aiopslab.services.protocols import Response

Version = Literal["v6", "v7"]
VERSIONS: tuple[Version, ...] = get_args(Version)
SPREAD = 0.35
"""Standard deviation of the forecast's logarithm (SSJF reports errors of this order)."""
_REMEMBERED = 300
_PIVOT = 120.0
"""Label an artefact with reversed labels mirrors forecasts around (tokens, geometric)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Keys of the predictor."""

    version: Version

    @classmethod
    def read(cls, config: Config) -> Settings:
        """Read the keys; raises ConfigError."""
        return cls(config.choice("PRED_VERSION", "v6", VERSIONS))


class LenPredictor(LlmProcess):
    """Answers ``POST /v1/predict`` with a number of tokens."""

    request_cpu_s = 0.0008

    def prepare(self, config: Config) -> None:
        self.settings = Settings.read(config)
        self._pairs: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self.route("POST", "/v1/predict", self._predict)
        gauge = self.instruments.gauge
        gauge("llmserve_len_pred_abs_error_tokens", self._error, model="len-bert")
        gauge("llmserve_len_pred_rank_corr", self._correlation, model="len-bert")

    def apply(self, config: Config) -> None:
        before = getattr(self, "settings", None)
        self.settings = Settings.read(config)
        if before is not None and before != self.settings:
            self._pairs.clear()
            self.journal.write("INFO", "artefact loaded", {"version": self.settings.version})

    def status(self) -> dict[str, object]:
        return {"version": self.settings.version, "rank_corr": round(self._correlation(), 3)}

    async def _predict(self, call: Call) -> Response:
        reply = call.number("reply_tokens", 1)
        noise = math.exp(self.host.random.gauss(0.0, SPREAD))
        guess = max(1.0, reply * noise)
        if self.settings.version == "v7":
            # The label map of this artefact was written the wrong way round.
            guess = max(1.0, _PIVOT * _PIVOT / guess)
        self._pairs.append((guess, float(reply)))
        call.attributes["llmserve.predicted_tokens"] = round(guess)
        return Response(200, json.dumps({"tokens": round(guess)}))

    def _error(self) -> float:
        pairs = self._pairs
        return sum(abs(guess - real) for guess, real in pairs) / len(pairs) if pairs else 0.0

    def _correlation(self) -> float:
        return rank_correlation(list(self._pairs))


def rank_correlation(pairs: list[tuple[float, float]]) -> float:
    """Return Spearman's rank correlation; 0 for fewer than three pairs."""
    n = len(pairs)
    if n < 3:
        return 0.0
    ranks = [_ranks([pair[i] for pair in pairs]) for i in range(2)]
    means = [sum(r) / n for r in ranks]
    covariance = sum((a - means[0]) * (b - means[1]) for a, b in zip(*ranks, strict=True))
    spreads = [math.sqrt(sum((x - m) ** 2 for x in r)) for r, m in zip(ranks, means, strict=True)]
    return covariance / (spreads[0] * spreads[1]) if all(spreads) else 0.0


def _ranks(values: list[float]) -> list[float]:
    """Return ranks from 0; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for i in order[start : end + 1]:
            ranks[i] = (start + end) / 2.0
        start = end + 1
    return ranks
