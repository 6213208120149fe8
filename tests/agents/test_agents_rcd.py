"""The scorers against published figures, on the data of RCD (Sock Shop, 50 cases).

The data are not ours to ship: set AIOPSLAB_TEST_RCD to the folder ``sock-shop-data`` of the
repository azamikram/rcd. The set is saturated: it shows that a scorer is right, not that it is
good.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aiopslab.agents.deviation import robust_score

DATA = os.environ.get("AIOPSLAB_TEST_RCD", "")
ROWS = 300

pytestmark = pytest.mark.skipif(not DATA, reason="AIOPSLAB_TEST_RCD names no data")


def n_sigma(before: Any, after: Any) -> float:
    return float((after.max() - before.mean()) / (before.std() or 1.0))


def baro(before: Any, after: Any) -> float:
    low, median, high = np.percentile(before, [25.0, 50.0, 75.0])
    return float((after.max() - median) / ((high - low) or 1.0))


def windows(case: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The recipe of the published figures: 300 rows each, no constants, memory in megabytes."""
    normal = pd.read_csv(case / "normal.csv").tail(ROWS)
    anomalous = pd.read_csv(case / "anomalous.csv").head(ROWS)
    names = [
        name
        for name in normal.columns
        if name in anomalous and name != "time" and not name.endswith(("_lat_50", "_lat_99"))
    ]
    both = []
    for frame in (normal[names], anomalous[names]):
        clean = frame.replace([np.inf, -np.inf], np.nan).ffill().fillna(0.0).astype(float)
        memory = [name for name in names if name.endswith("_mem")]
        clean[memory] /= 1e6
        both.append(clean)
    kept = [n for n in names if both[0][n].nunique() > 1 and both[1][n].nunique() > 1]
    return both[0][kept], both[1][kept]


def rank_of_truth(case: Path, scorer: Callable[..., float]) -> int:
    before, after = windows(case)
    scores = {n: scorer(before[n].to_numpy(), after[n].to_numpy()) for n in before.columns}
    ordered = sorted(scores, key=lambda name: -scores[name])
    services = list(dict.fromkeys(n.partition("_")[0].removesuffix("-db") for n in ordered))
    return services.index(case.parent.name.rpartition("-")[0]) + 1


@pytest.mark.parametrize(
    ("scorer", "kind", "first", "average"),
    [
        (n_sigma, "cpu", 0.92, 0.984),
        (n_sigma, "mem", 0.96, 0.992),
        (baro, "cpu", 0.96, 0.992),
        (baro, "mem", 0.96, 0.992),
        (robust_score, "cpu", 1.0, 1.0),
        (robust_score, "mem", 1.0, 1.0),
    ],
)
def test_the_scorers_reach_the_published_figures(
    scorer: Callable[..., float], kind: str, first: float, average: float
) -> None:
    cases = sorted(Path(DATA).glob(f"*-{kind}/*"))
    ranks = np.array([rank_of_truth(case, scorer) for case in cases])
    assert len(ranks) == 25
    assert (ranks <= 1).mean() == pytest.approx(first)
    assert np.mean([(ranks <= k).mean() for k in range(1, 6)]) == pytest.approx(average)
