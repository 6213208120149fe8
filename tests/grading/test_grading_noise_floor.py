"""What chance alone makes of a calibrated agent: the published table, and who is flagged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.grading import noise_floor as module
from aiopslab.grading.calibration_figures import Stated, calibration
from aiopslab.grading.noise_floor import DRAWS, noise_floor
from aiopslab.grading.reliability import (
    Bins,
    bin_count,
    calibration_error,
    debiased_error,
    equal_mass,
    equal_width,
)
from aiopslab.models.calibration import Calibration

Figure = tuple[float, float]
# Mean and 95th percentile of 1,500 agents with c ~ Beta(2, 2) and y ~ Bernoulli(c). Columns: ECE of
# 5, 10, 15 bins of equal width, of 5, 10 bins of equal mass; debiased error of 10 of equal mass.
GOLDEN: dict[int, list[Figure]] = {
    30: [(0.135, 0.216), (0.184, 0.264), (0.216, 0.295), (0.146, 0.229), (0.213, 0.295),
         (0.077, 0.258)],
    50: [(0.107, 0.174), (0.145, 0.209), (0.176, 0.237), (0.112, 0.177), (0.162, 0.226),
         (0.056, 0.195)],
    100: [(0.076, 0.124), (0.104, 0.152), (0.124, 0.167), (0.079, 0.127), (0.111, 0.156),
          (0.036, 0.135)],
    200: [(0.053, 0.087), (0.073, 0.107), (0.088, 0.121), (0.056, 0.090), (0.079, 0.113),
          (0.026, 0.094)],
    335: [(0.041, 0.066), (0.056, 0.081), (0.069, 0.093), (0.044, 0.070), (0.062, 0.088),
          (0.019, 0.071)],
    656: [(0.029, 0.047), (0.041, 0.058), (0.049, 0.067), (0.031, 0.050), (0.043, 0.061),
          (0.014, 0.052)],
    1000: [(0.024, 0.039), (0.033, 0.048), (0.040, 0.055), (0.025, 0.040), (0.035, 0.050),
           (0.012, 0.042)],
}  # fmt: skip
CUTS: list[tuple[Callable[..., Bins], int]] = [
    (equal_width, 5), (equal_width, 10), (equal_width, 15), (equal_mass, 5), (equal_mass, 10),
]  # fmt: skip
REPETITIONS = 1_500
PRINTED = 0.0005
"""Half of the last digit of the table."""


def agents(n: int, seeds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Calibrated agents: confidence in ascending order, and what was right."""
    for seed in range(seeds):
        chance = np.random.default_rng(seed)
        confidence = np.sort(chance.beta(2, 2, n))
        yield confidence, chance.random(n) < confidence


@pytest.mark.parametrize("n", sorted(GOLDEN))
def test_the_floor_of_a_calibrated_agent_is_that_of_the_table(n: int) -> None:
    figures = np.array(
        [
            [
                *(float(calibration_error(cut(c, bins), y)) for cut, bins in CUTS),
                debiased_error(equal_mass(c, 10), y),
            ]
            for c, y in agents(n, REPETITIONS)
        ]
    )
    spread = figures.std(axis=0)
    # Both sides are simulated. The percentile's standard error is some twice that of the mean, more
    # for the debiased error, whose tail is longer.
    mean_slack = 4 * np.sqrt(2 / REPETITIONS) * spread + PRINTED
    means, tails = np.array(GOLDEN[n]).T
    assert np.all(np.abs(figures.mean(axis=0) - means) <= mean_slack)
    assert np.all(np.abs(np.percentile(figures, 95, axis=0) - tails) <= 2.5 * mean_slack)


def found(confidence: np.ndarray, right: np.ndarray) -> Calibration:
    pairs = zip(confidence.tolist(), right.tolist(), strict=True)
    made = calibration([Stated(c, y, f"i{i % 60}") for i, (c, y) in enumerate(pairs)])
    assert made is not None
    return made


def test_a_calibrated_agent_is_within_its_band_in_95_of_100_seeds() -> None:
    # The band holds 95 % of them in the long run (a test below), so this is so for some hundreds
    # of seeds and not for others; these are the first hundred, of a usual number of answers.
    within = [not found(c, y).ece_mass.beyond_chance for c, y in agents(200, 100)]
    assert sum(within) >= 95


@pytest.mark.parametrize(
    "state",
    [np.sqrt, lambda c: 0.7 + 0.3 * c],
    ids=["too sure by a sixth", "between 0.7 and 1 whatever it knows"],
)
def test_an_overconfident_agent_is_flagged_in_all_seeds(
    state: Callable[[np.ndarray], np.ndarray],
) -> None:
    for c, y in agents(200, 100):
        sure = found(state(c), y)
        assert sure.ece_mass.beyond_chance
        assert sure.ece_width.beyond_chance
        assert sure.ece_mass.floor.p_value < 0.05
        assert sure.overconfidence_low is not None
        assert sure.overconfidence_low > 0


@pytest.mark.parametrize("cut", [equal_width, equal_mass])
@pytest.mark.parametrize(("n", "step"), [(40, None), (40, 0.1), (120, 0.05)])
def test_one_calibrated_agent_in_twenty_is_beyond_its_band(
    n: int, step: float | None, cut: Callable[..., Bins]
) -> None:
    beyond = 0
    for seed, (c, right) in enumerate(agents(n, 500)):
        if step is not None:
            c = np.round(np.round(c / step) * step, 2)
            right = np.random.default_rng([n, seed]).random(n) < c
        bins = cut(c, bin_count(n))
        error = partial(calibration_error, bins)
        floor = noise_floor(c, float(error(right)), error)
        beyond += float(error(right)) > floor.p95
    # 25 are expected, with a standard deviation of 5.
    assert 10 <= beyond <= 40


@given(
    st.lists(st.sampled_from([0.2, 0.5, 0.7, 0.9, 0.95]), min_size=1, max_size=40),
    st.integers(0, 2**32),
)
def test_outcomes_that_chance_draws_too_have_the_same_error_to_the_last_bit(
    confidence: list[float], seed: int
) -> None:
    c = np.sort(np.array(confidence))
    many = np.random.default_rng(seed).random((50, len(c))) < c
    for bins in (equal_width(c, 5), equal_mass(c, 5)):
        alone = [float(calibration_error(bins, row)) for row in many]
        assert calibration_error(bins, many).tolist() == alone


def test_the_floor_is_the_same_each_time_and_however_many_draws_fit_into_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (c, y), *_ = agents(50, 1)
    bins = equal_mass(c, 5)
    error = partial(calibration_error, bins)
    first = noise_floor(c, float(error(y)), error)
    assert noise_floor(c, float(error(y)), error) == first
    monkeypatch.setattr(module, "_AT_ONCE", 333)
    assert noise_floor(c, float(error(y)), error) == first


def test_no_error_is_surer_than_the_draws_can_tell() -> None:
    c = np.full(30, 0.99)
    bins = equal_width(c, 5)
    error = partial(calibration_error, bins)
    worst = noise_floor(c, float(error(np.zeros(30, dtype=bool))), error)
    assert worst.p_value == pytest.approx(1 / (DRAWS + 1))
    assert noise_floor(c, 0.0, error).p_value == 1.0
