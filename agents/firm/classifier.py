"""Is an instance a culprit? A linear SVM on random Fourier features, learnt step by step.

The model is small and stored as JSON; deciding needs numpy only, learning needs scikit-learn.
Without a model the thresholds of ``untrained`` decide. Not here: what an instance's features are
(``features``), which incidents are learnt from (``train``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from aiopslab.errors import PreflightError
from aiopslab.models.base import Model

from .features import Instance

IMPORTANT = 0.7
"""Relative importance beyond which an untrained classifier suspects."""
CONGESTED = 2.0
"""Congestion intensity beyond which it does."""
COMPONENTS = 50
GAMMA = 0.05
SEED = 0


class Svm(Model):
    """A stored model of D random features.

    ``decision = weights . sqrt(2 / D) cos(scaled x . directions + offsets) + bias``.
    """

    learnt_from: list[str]
    """Incidents."""
    mean: list[float]
    """Of each feature, subtracted before anything else."""
    scale: list[float]
    """Standard deviation of each feature."""
    directions: list[list[float]]
    """Features x D, drawn from a normal distribution of variance ``2 gamma``."""
    offsets: list[float]
    """D, even between 0 and 2 pi."""
    weights: list[float]
    bias: float
    platt: tuple[float, float] = Field(default=(-1.0, 0.0))
    """a and b of ``P(culprit) = 1 / (1 + exp(a decision + b))`` (Platt 1999)."""

    def decision(self, vectors: Sequence[Sequence[float]]) -> list[float]:
        """Return the signed distance from the margin of each vector; culprits are above 0."""
        if not vectors:
            return []
        scaled = (np.asarray(vectors) - np.asarray(self.mean)) / np.asarray(self.scale)
        angles = scaled @ np.asarray(self.directions) + np.asarray(self.offsets)
        mapped = math.sqrt(2.0 / len(self.offsets)) * np.cos(angles)
        return [float(d) for d in mapped @ np.asarray(self.weights) + self.bias]

    def probability(self, vectors: Sequence[Sequence[float]]) -> list[float]:
        """Return the chance that each vector is a culprit's, by the stored scaling."""
        a, b = self.platt
        return [1.0 / (1.0 + math.exp(max(-30.0, min(30.0, a * d + b))))
                for d in self.decision(vectors)]  # fmt: skip


def suspicions(found: Sequence[Instance], model: Svm | None) -> dict[str, float]:
    """Return component -> how likely it is a culprit, 0 to 1: that of its worst instance."""
    chances = (
        [untrained(one) for one in found]
        if model is None
        else model.probability([one.vector() for one in found])
    )
    worst: dict[str, float] = {}
    for one, chance in zip(found, chances, strict=True):
        worst[one.component] = max(chance, worst.get(one.component, 0.0))
    return worst


def untrained(one: Instance) -> float:
    """Return how suspicious an instance is without a model.

    Above one half if ``RI > 0.7`` and ``CI > 2``; on both sides it grows with ``RI log CI``.
    """
    score = max(0.0, one.importance) * math.log(one.congestion)
    share = score / (1.0 + score) / 2.0
    return share + 0.5 if one.importance > IMPORTANT and one.congestion > CONGESTED else share


def load(path: Path) -> Svm | None:
    """Read a stored model; None where there is none."""
    return Svm.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None


class Learner:
    """Learns from one incident after another.

    Args:
        vectors: Some vectors, which set mean and scale of the features.

    Raises:
        PreflightError: scikit-learn is not installed.
    """

    def __init__(self, vectors: Sequence[Sequence[float]]) -> None:
        sampler, classifier = _scikit()
        known = np.asarray(vectors, dtype=float)
        self._mean, self._scale = known.mean(axis=0), np.maximum(known.std(axis=0), 1e-6)
        self._map = sampler(gamma=GAMMA, n_components=COMPONENTS, random_state=SEED)
        self._map.fit(self._scaled(known))
        self._svm = classifier(loss="hinge", alpha=1e-3, random_state=SEED, average=True)

    def learn(self, vectors: Sequence[Sequence[float]], guilty: Sequence[bool]) -> None:
        """Take one more step along the hinge loss; both classes weigh the same."""
        labels = np.asarray(guilty)
        if not labels.size:
            return
        share = labels.mean()
        weights = np.where(labels, 1.0 / max(share, 1e-9), 1.0 / max(1.0 - share, 1e-9)) / 2.0
        mapped = self._map.transform(self._scaled(np.asarray(vectors, dtype=float)))
        self._svm.partial_fit(mapped, labels, classes=[False, True], sample_weight=weights)

    def _scaled(self, vectors: Any) -> Any:
        return (vectors - self._mean) / self._scale

    def stored(self, learnt_from: Sequence[str], platt: tuple[float, float]) -> Svm:
        """Return the model as it is now."""
        return Svm(
            learnt_from=sorted(set(learnt_from)),
            mean=_rounded(self._mean),
            scale=_rounded(self._scale),
            directions=[_rounded(row) for row in self._map.random_weights_],
            offsets=_rounded(self._map.random_offset_),
            weights=_rounded(self._svm.coef_[0]),
            bias=float(self._svm.intercept_[0]),
            platt=platt,
        )


def fit_platt(decisions: Sequence[float], guilty: Sequence[bool]) -> tuple[float, float]:
    """Return a and b of Platt's scaling, by Newton's method on his smoothed targets."""
    d, y = np.asarray(decisions, dtype=float), np.asarray(guilty, dtype=bool)
    n_yes, n_no = int(y.sum()), int((~y).sum())
    targets = np.where(y, (n_yes + 1.0) / (n_yes + 2.0), 1.0 / (n_no + 2.0))
    a, b = 0.0, math.log((n_no + 1.0) / (n_yes + 1.0))
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(np.clip(a * d + b, -30.0, 30.0)))
        gap, spread = targets - p, p * (1.0 - p)
        gradient = np.array([float(gap @ d), float(gap.sum())])
        curve = np.array([[spread @ (d * d), spread @ d], [spread @ d, spread.sum()]])
        step = np.linalg.solve(curve + 1e-9 * np.eye(2), gradient)
        a, b = a - float(step[0]), b - float(step[1])
        if float(np.abs(step).max()) < 1e-9:
            break
    return a, b


def dump(model: Svm, path: Path) -> None:
    """Write a model, small and readable."""
    path.write_text(json.dumps(model.model_dump(mode="json")) + "\n", encoding="utf-8")


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 6) for value in values]


def _scikit() -> tuple[Any, Any]:
    try:
        from sklearn.kernel_approximation import RBFSampler
        from sklearn.linear_model import SGDClassifier
    except ImportError as error:
        raise PreflightError(
            "learning needs scikit-learn, which is not installed",
            hint="pip install 'aiopslab[firm]'",
        ) from error
    return RBFSampler, SGDClassifier
