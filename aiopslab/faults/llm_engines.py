"""Family ``llm``: engines that were configured wrong, and keep answering.

A rollout of engine settings that nobody measured: less KV cache, fewer GPUs, whole prompts, other
weights, a lower clock. Source: llmserve.md LS-09, LS-10, LS-11, LS-19, LS-21 (Aladdin, DynamoLLM,
Mnemosyne, TAPAS).
"""

from __future__ import annotations

from collections.abc import Mapping

from aiopslab.faults.llm_knobs import Knobs
from aiopslab.faults.llm_scheduling import NoParams
from aiopslab.models.base import Model


class _Engines(Knobs):
    """All engines, unless it says otherwise."""

    program = "llm-engine"
    everywhere = True
    restarts = True


class KvUtilisation(_Engines):
    """A cautious change left the engines a fraction of their KV cache."""

    kind = "llm/kv-utilisation"
    cause = "kv_cache_undersized"

    class Params(Model):
        """Parameters."""

        share: float = 0.5
        """Part of GPU memory for weights and cache; weights alone take about 0.42."""

    params: Params

    def wrong(self) -> Mapping[str, str]:
        return {"ENGINE_KV_UTIL": f"{self.params.share:g}"}

    def good(self, key: str, value: str | None) -> bool:
        return value is not None and _at_least(value, 0.7)


class Parallelism(_Engines):
    """The engines were rolled out with a quarter of their GPUs."""

    kind = "llm/parallelism"
    cause = "tensor_parallelism_wrong"
    fault_type = "Operation Error"
    Params = NoParams

    def wrong(self) -> Mapping[str, str]:
        return {"ENGINE_TP": "2"}

    def good(self, key: str, value: str | None) -> bool:
        return value == "8"


class WholePrompts(_Engines):
    """Prompts are computed whole: everybody's next token waits for the longest of them."""

    kind = "llm/whole-prompts"
    cause = "chunked_prefill_disabled"
    Params = NoParams

    def wrong(self) -> Mapping[str, str]:
        return {"ENGINE_CHUNK_TOKENS": "0"}

    def good(self, key: str, value: str | None) -> bool:
        return value is not None and _at_least(value, 128) and not _at_least(value, 2049)


class Quantised(_Engines):
    """One engine still has the weights of a past emergency: fast, and wrong more often."""

    kind = "llm/quantised"
    cause = "model_quantisation_stale"
    fault_type = "Operation Error"
    everywhere = False
    actor = "y.sato"
    Params = NoParams

    def wrong(self) -> Mapping[str, str]:
        return {"ENGINE_QUANT": "int4"}

    def good(self, key: str, value: str | None) -> bool:
        return value == "fp16"


class ClockProfile(_Engines):
    """The clock stays at the night's profile while the day's load comes."""

    kind = "llm/clock-profile"
    cause = "accelerator_clock_low"
    restarts = False
    actor = "energy-controller"

    class Params(Model):
        """Parameters."""

        mhz: int = 990
        """SM clock; the highest is 1980."""

    params: Params

    def wrong(self) -> Mapping[str, str]:
        return {"ENGINE_CLOCK_MHZ": str(self.params.mhz)}

    def good(self, key: str, value: str | None) -> bool:
        return value is not None and _at_least(value, 1700)


def _at_least(value: str, least: float) -> bool:
    try:
        return float(value) >= least
    except ValueError:
        return False


KINDS = (KvUtilisation, Parallelism, WholePrompts, Quantised, ClockProfile)
