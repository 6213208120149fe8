"""How long an engine's iterations take: constants by hardware, and what slows them.

An iteration that decodes ``n`` sequences and prefills ``c`` tokens takes ``base + each * n +
prefill * c`` milliseconds; without sequences to decode, ``prefill * c``. The constants are fits to
the profiling tables published with SageServe and Splitwise (Llama-class models). What a lower clock
does follows DynamoLLM's finding that prefill is bound by compute and decoding by memory; the
exponent is an assumption of this project. Not here: what is in an iteration (``batching``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

MAX_CLOCK_MHZ = 1980.0
"""Highest SM clock of an H100 (SXM)."""
_DECODE_EXPONENT = 0.4


@dataclass(frozen=True, slots=True)
class Profile:
    """One model on one kind of hardware at one degree of tensor parallelism."""

    prefill_ms: float
    """Per prompt token."""
    base_ms: float
    """Per iteration that decodes."""
    each_ms: float
    """Per sequence decoded."""
    kv_tokens: int
    """Tokens that fit into the KV cache at the default memory utilisation."""
    gpus: int
    gpu: str
    idle_watts: float = 80.0
    peak_watts: float = 700.0

    def iteration_s(self, decoding: int, prefill_tokens: int) -> float:
        """Return the length of an iteration in seconds."""
        decode_ms = self.base_ms + self.each_ms * decoding if decoding else 0.0
        return (decode_ms + self.prefill_ms * prefill_tokens) / 1000.0


_H100, _A100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"
PROFILES: dict[str, Profile] = {
    "70b-h100-tp8": Profile(0.095, 29.6, 0.31, 120_000, 8, _H100),
    "70b-h100-tp4": Profile(0.110, 28.4, 0.35, 90_000, 4, _H100),
    "70b-h100-tp2": Profile(0.161, 39.5, 0.11, 60_000, 2, _H100),
    "70b-a100-tp8": Profile(0.200, 43.5, 0.41, 120_000, 8, _A100, 60.0, 400.0),
    "70b-a100-tp4": Profile(0.230, 42.0, 0.46, 90_000, 4, _A100, 60.0, 400.0),
    "70b-a100-tp2": Profile(0.340, 58.0, 0.15, 60_000, 2, _A100, 60.0, 400.0),
    "8b-a100-tp2": Profile(0.060, 8.4, 0.24, 200_000, 2, _A100, 60.0, 400.0),
}
QUANT_SPEED = {"fp16": 1.0, "int4": 0.62}
"""Part of the time that iterations take with quantised weights (modelled)."""


@dataclass(frozen=True, slots=True)
class Strain:
    """What slows an engine beside its load."""

    clock: float = 1.0
    """SM clock as a part of the highest."""
    prefill: float = 1.0
    """Factor on prefill alone: a power cap bites where the most power is drawn."""
    all: float = 1.0
    """Factor on everything: thermal slowdown."""
    quant: str = "fp16"


def strained(profile: Profile, strain: Strain) -> Profile:
    """Return the profile as it is under a strain."""
    speed = QUANT_SPEED[strain.quant] * strain.all
    decode = speed * strain.clock**-_DECODE_EXPONENT
    return replace(
        profile,
        prefill_ms=profile.prefill_ms * speed * strain.prefill / strain.clock,
        base_ms=profile.base_ms * decode,
        each_ms=profile.each_ms * decode,
    )
