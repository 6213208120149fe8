"""The model judge: votes of a language model, in two phases, after PACE-LM (arXiv 2309.05833).

COE: is the material sufficient to judge the cause? The claim is not shown. RCE: how likely is the
claim, given one of those analyses? Each vote is a call of its own at temperature 1, so votes are
independent. The original's prompts are not public: ours are the files ``prompts/``, version
``pace/v1``, and every call is kept with the trial. Not here: rules without a model (``scripted``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiopslab.agents import ModelSettings, TrialHandle
from aiopslab.agents.chat import RETRIES, BrokenReply, ModelLine, Prompts, counted, legible, text_of
from aiopslab.agents.prices import Prices, TokenUsage
from aiopslab.models.observation import Observation
from aiopslab.models.past_incident import PastIncident

from .judge import Case, Judgement

if TYPE_CHECKING:
    import openai

VERSION = "pace/v1"
TEMPERATURE = 1.0
_PROMPTS = Prompts(Path(__file__).parent / "prompts")
_EVIDENCE = 24_000
"""Characters of observations in a prompt, the newest ones kept."""
_OBSERVATION = 1_200
_SUFFICIENT = re.compile(r"SUFFICIENT:[\s*_`]*(yes|no)\b", re.IGNORECASE)
_RATING = re.compile(r"RATING:[\s*_`]*(100|\d{1,2})(?!\d|[.,]\d|\s*/\s*(?!100\b))", re.IGNORECASE)
"""A whole number from 0 to 100; a share such as 0.85 or 8/10 is no rating, least of all 0 or 8."""


class ModelJudge:
    """Asks the run's model.

    Args:
        model: The model and its endpoint.
        votes: How often each phase is asked, at least 1.
        prices: What its tokens cost.
        timeout_s: Seconds to wait for one reply.

    Raises:
        PreflightError: The key is missing.
    """

    def __init__(
        self, model: ModelSettings, votes: int, prices: Prices, timeout_s: float = 120.0
    ) -> None:
        self._settings = model
        self._key = model.key()
        self._votes = votes
        self._prices = prices
        self._timeout_s = timeout_s

    async def judge(self, case: Case, trial: TrialHandle) -> Judgement:
        """Collect the votes; what they consume is booked.

        Raises:
            PreflightError: The endpoint does not answer as it should.
        """
        import openai

        found = Judgement(coe=None, rce=None)
        line = ModelLine(trial, self._settings, self._prices)
        told = {
            "case": case.brief.text(),
            "references": _references(case.references),
            "evidence": _evidence(case.seen),
        }
        async with openai.AsyncOpenAI(
            base_url=self._settings.base_url, api_key=self._key, timeout=self._timeout_s,
            max_retries=RETRIES,
        ) as client:  # fmt: skip
            ask = partial(self._ask, line, client, found)
            analyses = [await ask("evaluate", told) for _ in range(self._votes)]
            claim = case.claim.text()
            ratings = [
                await ask("rate", {**told, "analysis": text, "claim": claim}) for text in analyses
            ]
        for text in analyses:
            if said := _last(_SUFFICIENT, text):
                found.coe_votes.append(said.lower() == "yes")
        for text in ratings:
            if said := _last(_RATING, text):
                found.rce_votes.append(int(said) / 100.0)
        found.invalid_votes = 2 * self._votes - len(found.coe_votes) - len(found.rce_votes)
        found.coe, found.rce = _mean(found.coe_votes), _mean(found.rce_votes)
        return found

    async def _ask(
        self,
        line: ModelLine,
        client: openai.AsyncOpenAI,
        found: Judgement,
        prompt: str,
        told: dict[str, str],
    ) -> str:
        """Send one prompt; count and keep it."""
        text = _PROMPTS(prompt, **told)
        messages: Any = legible([{"role": "user", "content": text}])

        async def once() -> tuple[str, TokenUsage | None]:
            reply = await client.chat.completions.create(
                model=self._settings.name,
                messages=messages,
                temperature=TEMPERATURE,
            )
            if not getattr(reply, "choices", None) or reply.choices[0].message is None:
                raise BrokenReply("the reply holds no message")
            usage = counted(reply.usage)
            if usage is not None:
                found.judge_tokens_in += usage.tokens_in
                found.judge_tokens_out += usage.tokens_out
            return text_of(reply.choices[0].message.content), usage

        said = await line.reply(once)
        found.judge_calls += 1
        found.transcript.append({"prompt": prompt, "text": text, "reply": said})
        return said


def _last(pattern: re.Pattern[str], text: str) -> str:
    """Return the last vote in a reply, since a prompt may be quoted before it; empty for none."""
    return next(reversed(pattern.findall(text)), "")


def _mean(votes: Sequence[float]) -> float | None:
    return sum(votes) / len(votes) if votes else None


def _references(records: Sequence[PastIncident]) -> str:
    return (
        "\n\n".join(
            f"{r.id} ({r.date}): {r.title}\n{r.summary}\n"
            f"Cause: {r.component}: {r.cause}. {r.resolution}"
            for r in records
        )
        or "(none)"
    )


def _evidence(seen: Sequence[Observation]) -> str:
    """Return the observations, each shortened, as many of the newest as fit."""
    parts: list[str] = []
    left = _EVIDENCE
    for one in reversed(seen):
        arguments = ", ".join(f"{k}={v!r}" for k, v in one.arguments.items())
        text = one.text if len(one.text) <= _OBSERVATION else f"{one.text[:_OBSERVATION]} ..."
        part = f"[{one.id}] {one.tool}({arguments})\n{text}"
        left -= len(part)
        if left < 0:
            parts.append("(older observations left out)")
            break
        parts.append(part)
    return "\n\n".join(reversed(parts)) or "(nothing was looked at)"
