"""When sessions arrive: an open-loop process that knows nothing of how they are served.

Not here: what a session does (``journeys``), running it (``generator``).
"""

from __future__ import annotations

import bisect
import math
import random

from aiopslab.models.journey import Load

_DAY_S = 86400.0


class Arrivals:
    """Arrival instants of one journey.

    ``constant`` spaces them evenly; ``poisson`` is memoryless; ``diurnal`` is a Poisson process
    whose rate swings around its mean with the time of day; ``trace`` is one whose rate follows a
    recorded curve, over and over. Both are drawn by thinning (Lewis and Shedler 1979): candidates
    at the peak rate, each kept with probability rate / peak.

    Args:
        rate: Sessions per second at factor 1, averaged over a day.
        load: Shape, amplitude and peak hour.
        stream: Drawn from by this process alone.
    """

    __slots__ = ("_load", "_rate", "_stream")

    def __init__(self, rate: float, load: Load, stream: random.Random) -> None:
        self._rate = rate
        self._load = load
        self._stream = stream

    def rate(self, time: float, factor: float = 1.0) -> float:
        """Return the intended rate (1/s) at a unix time."""
        mean = self._rate * factor
        match self._load.shape:
            case "diurnal":
                phase = (time % _DAY_S) / _DAY_S - self._load.peak_hour / 24.0
                swing = self._load.amplitude * math.cos(2.0 * math.pi * phase)
                return mean * max(0.0, 1.0 + swing)
            case "trace":
                return mean * self._traced(time)
            case "constant" | "poisson":
                return mean

    def _traced(self, time: float) -> float:
        """Return the relative rate of the trace, which repeats after its last point."""
        points = self._load.trace
        first, last = points[0][0], points[-1][0]
        at = first + time % (last - first)
        after = bisect.bisect_right(points, at, key=lambda point: point[0])
        (t0, r0), (t1, r1) = points[after - 1], points[after]
        return r0 + (r1 - r0) * (at - t0) / (t1 - t0)

    def after(self, time: float, factor: float) -> float:
        """Draw the first arrival after ``time`` with the rate times ``factor``; inf if none."""
        mean = self._rate * factor
        if mean <= 0.0:
            return math.inf
        match self._load.shape:
            case "constant":
                return time + 1.0 / mean
            case "poisson":
                return time + self._stream.expovariate(mean)
            case "diurnal":
                return self._thinned(time, factor, mean * (1.0 + abs(self._load.amplitude)))
            case "trace":
                return self._thinned(time, factor, mean * max(r for _, r in self._load.trace))

    def _thinned(self, time: float, factor: float, peak: float) -> float:
        if peak <= 0.0:
            return math.inf
        while True:
            time += self._stream.expovariate(peak)
            if self._stream.random() * peak <= self.rate(time, factor):
                return time
