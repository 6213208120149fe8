"""When an incident is handed over: so that the clock does not say whether anything broke.

An agent reads the time, and from telemetry how long there was load before. Both sides of an
incident are therefore handed over on one grid from its start, and where nothing breaks the delay is
one that faults of the same app took to be seen. Not here: the gate (``stage``), what else is drawn
(``draw``).
"""

from __future__ import annotations

import math
import random

GRID_S = 10.0
"""Hand-over is a multiple of this, and the time a page takes to be read, from the start."""
SEEN_S: dict[str, tuple[int, ...]] = {
    "hotel": (
        10, 20, 20, 30, 30, 30, 30, 30, 30, 30, 40, 40, 40, 50, 50, 50, 60, 70, 90, 240,
    ),
    "llmserve": (
        40, 50, 60, 60, 60, 70, 70, 80, 80, 90, 100, 100, 100, 100, 100, 110, 120, 120, 130, 130,
    ),
    "shop": (
        10, 10, 20, 20, 20, 30, 30, 30, 30, 30, 40, 40, 50, 60, 70, 70, 100, 120, 180, 610,
    ),
}  # fmt: skip
"""Seconds from the last fault to the open gate, by app: twentieths of the draws measured in
``docs/soundness.jsonl``, rounded up to the grid."""
ANY_APP_S = (10, 20, 20, 30, 30, 30, 30, 30, 30, 40, 40, 50, 50, 60, 70, 80, 100, 110, 130, 360)
"""The same of all apps together, for one that is not measured."""


def on_grid(seconds: float) -> float:
    """Round seconds since an incident's start up to the grid."""
    return math.ceil(round(seconds / GRID_S, 6)) * GRID_S


def twin_delay_s(app: str, last_s: float, within_s: float, stream: random.Random) -> float:
    """Draw when an incident would have been seen in which nothing breaks.

    Args:
        app: Name of the app.
        last_s: When the last of its faults and later distractors is due, seconds from its start.
        within_s: Seconds in which its gate must open.
        stream: The incident's stream for this.

    Returns:
        Seconds from its start, on the grid.
    """
    seen = stream.choice(SEEN_S.get(app, ANY_APP_S))
    return on_grid(last_s) + max(GRID_S, min(float(seen), within_s // GRID_S * GRID_S))
