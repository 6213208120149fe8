"""The GPUs under an engine: clocks, power, temperature, and what protects them.

Modelled, not run: power follows what the engine computed in the past second, temperature follows
power and the inlet with a lag, protection slows down when it is too hot, a power cap slows prefill,
which draws the most. The machine's conditions come from ``Host.hardware``:

* ``inlet_celsius``: air that reaches the GPUs (24 if unknown);
* ``power_cap_watts``: cap per GPU (none if unknown).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from aiopslab.services.llm.batching import Run
from aiopslab.services.llm.profiles import MAX_CLOCK_MHZ, Profile

_TAU_S = 45.0
"""Time constant of a GPU's temperature."""
_KELVIN_PER_SHARE = 58.0
"""Rise above the inlet at peak power."""
SLOWDOWN_CELSIUS = 84.0
RELEASE_CELSIUS = 80.0
SLOWDOWN = 2.5
"""Factor on everything while the hardware slows down against heat."""
DEFAULT_INLET = 24.0
_CAP_EXPONENT = 2.0
"""Prefill slows with this power of (peak / cap): 2.5 times at 443 of 700 W (an assumption)."""


class Gpu:
    """The GPUs of one engine, which work alike.

    Args:
        profile: Their kind.
        hardware: Conditions of the machine.
        now: Unix seconds.
    """

    def __init__(self, profile: Profile, hardware: Mapping[str, float], now: float) -> None:
        self.profile = profile
        self._hardware = hardware
        self._at = now
        self._prefill_s = self._decode_s = 0.0
        self._clock = self._limit_clock = 1.0
        self._limit_watts = profile.peak_watts
        self.utilisation = 0.0
        self.watts = profile.idle_watts
        self.celsius = self.inlet + 12.0
        self.hot = False
        self.power_violation_s = 0.0
        self.thermal_violation_s = 0.0
        self.energy_j = 0.0

    @property
    def inlet(self) -> float:
        """Temperature of the air that reaches the GPUs."""
        return self._hardware.get("inlet_celsius", DEFAULT_INLET)

    @property
    def cap_watts(self) -> float:
        """Power a GPU may draw."""
        return min(
            self._limit_watts, self._hardware.get("power_cap_watts", self.profile.peak_watts)
        )

    @property
    def capped(self) -> bool:
        """Whether the cap lies below what the GPU could draw."""
        return self.cap_watts < self.profile.peak_watts

    @property
    def prefill_factor(self) -> float:
        """What the power cap does to prefill."""
        if not self.capped:
            return 1.0
        return float((self.profile.peak_watts / self.cap_watts) ** _CAP_EXPONENT)

    @property
    def slowdown(self) -> float:
        """What heat protection does to everything."""
        return SLOWDOWN if self.hot else 1.0

    @property
    def clock_ratio(self) -> float:
        """SM clock as set and limited, relative to the highest."""
        return min(self._clock, self._limit_clock)

    def set_clock(self, mhz: float) -> None:
        """Set the SM clock an operator or a controller wants."""
        self._clock = min(1.0, max(0.1, mhz / MAX_CLOCK_MHZ))

    def limit(self, mhz: float, share: float) -> None:
        """Set limits from outside, as ``nvidia-smi -lgc`` and ``-pl`` do.

        Args:
            mhz: SM clock at most.
            share: Power at most, as a part of the peak; more than 1 is no limit.
        """
        self._limit_clock = min(1.0, max(0.1, mhz / MAX_CLOCK_MHZ))
        peak = self.profile.peak_watts
        self._limit_watts = min(peak, max(self.profile.idle_watts, round(peak * share)))

    @property
    def clock_mhz(self) -> float:
        """SM clock as the driver reports it, protection and cap included."""
        ratio = self.clock_ratio / (1.7 if self.hot else 1.0)
        if self.capped and self.utilisation > 0.0:
            ratio *= 1.0 - 0.45 * (1.0 - self.cap_watts / self.profile.peak_watts)
        return round(MAX_CLOCK_MHZ * ratio / 15.0) * 15.0

    @property
    def reasons(self) -> float:
        """Clock event reasons as DCGM's bit mask: 0x4 power cap, 0x40 hardware thermal."""
        return float((0x4 if self.capped and self.utilisation else 0) | (0x40 if self.hot else 0))

    def worked(self, run: Run, count: int, now: float) -> None:
        """Account for iterations: prefill and decoding draw differently."""
        seconds = run.iteration_s * count
        if run.prefill_tokens:
            compute = min(seconds, count * run.prefill_tokens * self.profile.prefill_ms / 1000.0)
            self._prefill_s += compute
            seconds -= compute
        self._decode_s += seconds

    def step(self, now: float) -> list[str]:
        """Bring power, heat and protection up to now; return what the driver logs."""
        elapsed, self._at = now - self._at, now
        if elapsed <= 0.0:
            return []
        prefill = min(1.0, self._prefill_s / elapsed)
        decode = min(1.0 - prefill, self._decode_s / elapsed)
        self._prefill_s = self._decode_s = 0.0
        self.utilisation = 0.5 * self.utilisation + 0.5 * (prefill + decode)
        dynamic = self.profile.peak_watts - self.profile.idle_watts
        scale = self.clock_ratio**1.5 / (1.6 if self.hot else 1.0)
        wanted = self.profile.idle_watts + dynamic * scale * (0.95 * prefill + 0.62 * decode)
        if self.capped and prefill > 0.0:
            self.power_violation_s += elapsed * prefill
        self.watts = min(wanted, self.cap_watts)
        self.energy_j += self.watts * elapsed
        rise = _KELVIN_PER_SHARE * self.watts / self.profile.peak_watts
        goal = self.inlet + 12.0 + rise
        self.celsius += (goal - self.celsius) * (1.0 - math.exp(-elapsed / _TAU_S))
        return self._protect(elapsed)

    def _protect(self, elapsed: float) -> list[str]:
        if self.hot:
            self.thermal_violation_s += elapsed
            if self.celsius < RELEASE_CELSIUS:
                self.hot = False
                return ["GPU clocks released, temperature is back in range"]
        elif self.celsius >= SLOWDOWN_CELSIUS:
            self.hot = True
            return [f"GPU at {self.celsius:.0f} C, hardware slowdown is active"]
        return []
