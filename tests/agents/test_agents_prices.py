from __future__ import annotations

from pathlib import Path

import pytest

from aiopslab.agents import ModelSettings, load
from aiopslab.agents.prices import FILE, PriceList, TokenUsage, load_prices
from aiopslab.content import load_model
from aiopslab.errors import ContentError, PreflightError
from aiopslab.models.run import Limits, RunConfig
from aiopslab.orchestrator import players

ROOT = Path(__file__).parents[2]
MINE = """\
schema: aiopslab/prices@1
version: "2026-11"
source: my contract
models:
  my-model: {input: 3, output: 6}
  gpt-4o: {input: 1, output: 1}
  free: {input: 0, output: 0}
"""


def mine(folder: Path) -> Path:
    path = folder / FILE
    path.parent.mkdir()
    path.write_text(MINE, encoding="utf-8")
    return path


def test_our_prices_say_when_and_where_they_were_read() -> None:
    ours = load_model(ROOT / FILE, PriceList)
    assert ours.source
    assert len(ours.version) == len("2026-11")
    assert all(p.output > p.input > (p.cached_input or 0.0) for p in ours.models.values())


def test_tokens_cost_by_kind() -> None:
    price = load_prices().of("gpt-4o")
    assert price is not None
    usage = TokenUsage(tokens_in=1_000_000, tokens_out=100_000, tokens_cached=400_000)
    assert price.cost_usd(usage) == pytest.approx(0.6 * 2.5 + 0.4 * 1.25 + 0.1 * 10.0)


def test_without_a_price_for_cached_tokens_they_cost_what_others_do(tmp_path: Path) -> None:
    price = load_prices(str(mine(tmp_path))).of("my-model")
    assert price is not None
    assert price.cost_usd(TokenUsage(1000, 0, 900)) == price.cost_usd(TokenUsage(1000, 0))


@pytest.mark.parametrize("by_content", [True, False])
def test_a_file_of_ones_own_goes_before_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_content: bool
) -> None:
    path = mine(tmp_path)
    if by_content:
        monkeypatch.setenv("AIOPSLAB_CONTENT", str(tmp_path))
    prices = load_prices("" if by_content else str(path))
    found = {name: prices.of(name) for name in ("my-model", "gpt-4o", "gpt-4.1", "gpt-4")}
    assert [p and p.input for p in found.values()] == [3.0, 1.0, 2.0, None]


def test_a_model_that_costs_nothing_is_not_one_whose_price_is_unknown(tmp_path: Path) -> None:
    prices = load_prices(str(mine(tmp_path)))
    assert prices.require("free").cost_usd(TokenUsage(1000, 1000)) == 0.0
    assert prices.of("free-2") is None


@pytest.mark.parametrize("agent", ["react", "openai-tools"])
def test_a_cost_limit_is_refused_before_the_run_where_the_price_is_unknown(
    agent: str, tmp_path: Path
) -> None:
    config = RunConfig(
        targets=["x"], agent=agent, model="openai/my-model", base_url="http://localhost/v1",
        limits=Limits(cost_usd=1.0),
    )  # fmt: skip
    with pytest.raises(PreflightError, match="price of model 'my-model' is unknown") as caught:
        players.preflight(config, [agent])
    assert "-A prices=FILE" in caught.value.hint
    priced = {"agent_args": {"prices": str(mine(tmp_path))}}
    players.preflight(config.model_copy(update=priced), [agent])
    players.preflight(config.model_copy(update={"limits": Limits()}), [agent])


def test_a_missing_file_of_prices_is_told_before_the_run() -> None:
    settings = ModelSettings(model="x", base_url="http://localhost/v1")
    with pytest.raises(ContentError, match="cannot be read"):
        load("openai-tools").preflight({"prices": "none.yaml"}, settings)
