"""The power manager: power of rows, air of aisles, and the clocks that engines may run at.

Rows have a cap each, shared by their GPUs in proportion to what they draw at most. Clocks follow
the forecast: lower at night, for energy. Without a fresh forecast the hall counts as idle. It reads
the engines' sensors every few seconds and sets their limits. Not here: what limits do to an engine
(``gpu``), the forecast (``autoscaler``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from aiopslab.services.config import Config, ConfigError
from aiopslab.services.llm.process import LlmProcess

Profile = Literal["auto", "day", "night"]
PROFILES: tuple[Profile, ...] = get_args(Profile)
_TICK_S = 5.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Keys of the power manager."""

    caps: dict[str, float]
    """Watts by row."""
    profile: Profile
    day_mhz: float
    night_mhz: float
    night_share: float
    """Below this part of the peak's load it is night."""
    max_age_s: float
    """From this age on a forecast does not count."""

    @classmethod
    def read(cls, config: Config) -> Settings:
        """Read the keys; raises ConfigError."""
        return cls(
            caps=_caps(config.text("POWER_ROW_CAPS", "")),
            profile=config.choice("POWER_CLOCK_PROFILE", "auto", PROFILES),
            day_mhz=config.number("POWER_DAY_MHZ", 1980.0),
            night_mhz=config.number("POWER_NIGHT_MHZ", 960.0),
            night_share=config.number("POWER_NIGHT_SHARE", 0.35),
            max_age_s=config.number("POWER_FORECAST_MAX_AGE_S", 180.0),
        )


class PowerManager(LlmProcess):
    """Works by itself; nobody calls it."""

    def prepare(self, config: Config) -> None:
        self.settings = Settings.read(config)
        labels = {n.name: n.labels for n in self.app.nodes}
        services = self.app.services
        self._places = {e: labels[str(services[e].node)] for e in self.callees("llm-engine")}
        [self._autoscaler] = self.callees("llm-autoscaler")
        self._read: dict[str, dict[str, object]] = {}
        self._forecast_at: float | None = None
        self._share = 0.0
        self._applied = ""
        gauge = self.instruments.gauge
        for row in sorted({p["row"] for p in self._places.values()}):
            self._row(row)
        for aisle in sorted({p["aisle"] for p in self._places.values()}):
            self._aisle(aisle)
        gauge("llmserve_power_clock_limit_mhz", lambda: self.mhz)
        gauge("llmserve_power_forecast_age_seconds", lambda: round(self.forecast_age_s, 1))
        self.host.spawn(self._watch())

    def _row(self, row: str) -> None:
        gauge = self.instruments.gauge
        gauge("llmserve_row_power_watts", lambda: self._sum("row", row, "watts"), row=row)
        gauge("llmserve_row_power_cap_watts", lambda: self._cap(row), row=row)

    def _aisle(self, aisle: str) -> None:
        def warmest() -> float:
            found = [self._number(e, "inlet_celsius") for e in self._of("aisle", aisle)]
            return max(found, default=0.0)

        self.instruments.gauge("llmserve_inlet_temp_celsius", warmest, aisle=aisle)

    def apply(self, config: Config) -> None:
        self.settings = Settings.read(config)

    def status(self) -> dict[str, object]:
        rows = sorted({p["row"] for p in self._places.values()})
        return {
            "clock_profile": self.profile,
            "clock_limit_mhz": self.mhz,
            "forecast_age_s": round(self.forecast_age_s),
            "rows": {
                row: {"watts": round(self._sum("row", row, "watts")), "cap": self._cap(row)}
                for row in rows
            },
            "throttled": sorted(e for e in self._places if self._number(e, "throttled")),
        }

    @property
    def forecast_age_s(self) -> float:
        """Age of the forecast that the clocks follow; 0 before there was one."""
        return 0.0 if self._forecast_at is None else self.now() - self._forecast_at

    @property
    def profile(self) -> Literal["day", "night"]:
        """Which clocks are in force."""
        settings = self.settings
        if settings.profile != "auto":
            return settings.profile
        if self._forecast_at is None:
            return "day"
        fresh = self.forecast_age_s < settings.max_age_s
        return "day" if fresh and self._share >= settings.night_share else "night"

    @property
    def mhz(self) -> float:
        """Highest SM clock in force."""
        return self.settings.day_mhz if self.profile == "day" else self.settings.night_mhz

    async def _watch(self) -> None:
        while True:
            found = await self.ask(self._autoscaler, "/v1/forecast")
            if found is not None:
                self._forecast_at = float(str(found["at"]))
                self._share = float(str(found["share"]))
            for engine in self._places:
                self._read[engine] = await self.ask(engine, "/v1/stats") or {}
            await self._limit()
            await self.host.clock.sleep(_TICK_S)

    async def _limit(self) -> None:
        """Set every engine's limits; say so when the clocks change."""
        profile = self.profile
        if profile != self._applied:
            fields: dict[str, str | int] = {
                "mhz": round(self.mhz),
                "forecast_age_s": round(self.forecast_age_s),
                "share_of_peak": f"{self._share:.2f}",
            }
            self.journal.write("INFO", f"clocks follow the {profile} profile", fields)
            self._applied = profile
        for engine, place in self._places.items():
            peak = self._number(engine, "peak_watts")
            if not peak:
                continue  # it does not answer, or does not run
            together = self._sum("row", place["row"], "peak_watts")
            # Eight GPUs or fewer share what the row leaves its engine; the engine knows how many.
            share = self._cap(place["row"]) / together
            await self.ask(engine, "/v1/limits", {"mhz": f"{self.mhz}", "share": f"{share:.4f}"})

    def _cap(self, row: str) -> float:
        return self.settings.caps.get(row, 0.0) or self._sum("row", row, "peak_watts")

    def _of(self, label: str, place: str) -> list[str]:
        return [e for e, labels in self._places.items() if labels[label] == place]

    def _sum(self, label: str, place: str, key: str) -> float:
        return sum(self._number(e, key) for e in self._of(label, place))

    def _number(self, engine: str, key: str) -> float:
        return float(str(self._read.get(engine, {}).get(key, 0.0)))


def _caps(text: str) -> dict[str, float]:
    """Read ``row=watts,...``."""
    caps: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        row, equals, watts = part.partition("=")
        if not equals or not watts.isdecimal() or not int(watts):
            raise ConfigError("POWER_ROW_CAPS", text, "row=watts, separated by commas")
        caps[row] = float(watts)
    return caps
