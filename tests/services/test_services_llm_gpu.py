"""The model of GPUs: heat lags power, protection slows down and lets go, a cap bites in prefill."""

from __future__ import annotations

import pytest

from aiopslab.services.llm.batching import Run, Sequence
from aiopslab.services.llm.gpu import RELEASE_CELSIUS, SLOWDOWN, SLOWDOWN_CELSIUS, Gpu
from aiopslab.services.llm.profiles import PROFILES

H100 = PROFILES["70b-h100-tp8"]


def prefill(tokens: int) -> Run:
    return Run(H100.iteration_s(0, tokens), 1, [], [(Sequence(prompt=tokens, reply=1), tokens)])


def work(gpu: Gpu, seconds: int, *, start: float = 0.0) -> list[str]:
    """Compute prompts without a pause, one second at a time."""
    lines = []
    busy = prefill(int(1.0 / (H100.prefill_ms / 1000.0)))
    for second in range(1, seconds + 1):
        gpu.worked(busy, 1, start + second)
        lines += gpu.step(start + second)
    return lines


def test_an_idle_gpu_draws_little_and_stays_cool() -> None:
    gpu = Gpu(H100, {}, 0.0)
    for second in range(1, 300):
        gpu.step(float(second))
    assert gpu.watts == H100.idle_watts
    assert gpu.celsius < 50.0
    assert (gpu.utilisation, gpu.reasons, gpu.clock_mhz) == (0.0, 0.0, 1980.0)


def test_heat_follows_power_with_a_lag() -> None:
    gpu = Gpu(H100, {"inlet_celsius": 10.0}, 0.0)
    work(gpu, 5)
    early = gpu.celsius
    work(gpu, 300, start=5.0)
    assert gpu.watts > 0.9 * H100.peak_watts
    assert early + 20.0 < gpu.celsius < SLOWDOWN_CELSIUS


def test_protection_slows_down_and_lets_go_when_it_is_cool_again() -> None:
    hall = {"inlet_celsius": 40.0}
    gpu = Gpu(H100, hall, 0.0)
    [line] = work(gpu, 60)[:1]
    assert "slowdown" in line
    assert (gpu.hot, gpu.slowdown) == (True, SLOWDOWN)
    assert gpu.clock_mhz < 1300.0
    assert gpu.thermal_violation_s > 0.0
    assert int(gpu.reasons) & 0x40
    hall["inlet_celsius"] = 20.0
    for second in range(61, 400):
        gpu.step(float(second))
    assert not gpu.hot
    assert gpu.celsius < RELEASE_CELSIUS


def test_a_power_cap_slows_prompts_and_is_counted_while_they_run() -> None:
    gpu = Gpu(H100, {"power_cap_watts": 350.0}, 0.0)
    assert gpu.prefill_factor == pytest.approx(4.0)
    gpu.step(10.0)
    assert gpu.power_violation_s == 0.0
    work(gpu, 20, start=10.0)
    assert gpu.watts == 350.0
    assert gpu.power_violation_s == pytest.approx(20.0, rel=0.05)
    assert int(gpu.reasons) & 0x4
    assert gpu.clock_mhz < 1980.0


def test_a_clock_is_kept_between_sensible_bounds() -> None:
    gpu = Gpu(H100, {}, 0.0)
    gpu.set_clock(990.0)
    assert (gpu.clock_ratio, gpu.clock_mhz) == (0.5, 990.0)
    gpu.set_clock(9000.0)
    assert gpu.clock_ratio == 1.0
