"""``pace``: any other agent, with a confidence of its own for what that agent answers.

After PACE-LM (arXiv 2309.05833), whose prompts and constants are not public: a judge says how far
the evidence suffices (COE) and how far it supports the answer (RCE), and a mapping that was fitted
on labelled answers turns both into a probability. The inner agent plays as it would alone; only the
probabilities of its answer are replaced, never their order. Not here: judging (``scripted``,
``voting``), answers (``answers``), fitting (``aiopslab calibrate``).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from aiopslab.agents import Agent, AgentLoader, DelegatingTrial, ModelSettings, TrialHandle, load
from aiopslab.agents.prices import Prices, load_prices
from aiopslab.errors import LimitExceeded, PreflightError, UsageError
from aiopslab.models.answer import Answer
from aiopslab.models.confidence import FILE, Ablation, Elicited, JudgeKind, uncalibrated
from aiopslab.models.mapping import ConfidenceMapping
from aiopslab.models.observation import Observation

from .answers import claim, fixed, read, stated, with_confidence
from .judge import Case, Judge, Judgement
from .retrieval import Memory, query, references
from .sampling import Sample, Seen, modal, play
from .scripted import ScriptedJudge
from .voting import VERSION, ModelJudge

TRANSCRIPT = "confidence_votes.jsonl"
_JUDGED = ("none", "no-retrieval")
"""Ablations that ask a judge."""


class Pace:
    """The agent.

    Args:
        model: The run's model, for a model judge and for an inner agent that needs one.
        inner: Name of the agent whose answers are taken.
        inner_args: Its arguments, a JSON object.
        judge: ``scripted`` or ``model``.
        votes: Votes of a model judge in each phase, or samples for self-consistency.
        mapping: Path of a fitted mapping; empty: uncalibrated.
        ablation: What is left out, or takes the place of the judge.
        prices: A file of prices that goes before the others, for a model judge; empty: none.
        memory: Past incidents; None takes those of the content.

    Raises:
        UsageError: An argument is unknown, or these do not go together.
        PreflightError: A model, key or package is missing.
    """

    def __init__(
        self,
        model: ModelSettings | None = None,
        inner: str = "statistical",
        inner_args: str = "{}",
        judge: str = "scripted",
        votes: int = 5,
        mapping: str = "",
        ablation: str = "none",
        prices: str = "",
        *,
        memory: Memory | None = None,
    ) -> None:
        self._judge_kind: JudgeKind = _one_of("judge", judge, get_args(JudgeKind))
        self._ablation: Ablation = _one_of("ablation", ablation, get_args(Ablation))
        if votes < 1:
            raise UsageError(f"votes={votes} are too few", hint="-A votes=5")
        self._inner, self._model, self._votes = inner, model, votes
        self._loader, self._inner_args = load(inner), _arguments(inner_args)
        _check_inner(self._loader, self._inner_args, model)
        self._judge = None
        if ablation in _JUDGED:
            self._judge = _judge(self._judge_kind, model, votes, load_prices(prices))
        self._mapping, self._digest = _mapping(mapping)
        self._check_mapping()
        self._memory = memory

    async def run(self, trial: TrialHandle) -> None:
        """Let the inner agent play; give its answer a confidence and submit it."""
        if self._ablation != "self-consistency" or trial.brief.task == "mitigation":
            await self._make().run(_Watched(trial, self))
            return
        answers: list[Answer | None] = []
        seen: Seen = {}
        while len(answers) < self._votes:
            handle = Sample(trial, seen)
            try:
                await play(self._make(), handle)
            except LimitExceeded:
                # What the budget allowed is what there is; a first sample that got nowhere is the
                # agent's own limit.
                if not answers:
                    raise
                break
            answers.append(handle.answer)
        found = modal(answers)
        if found is not None:
            await self._submit(trial, found[0], {"agreement": found[1], "samples": len(answers)})

    async def answered(
        self, trial: TrialHandle, seen: list[Observation], arguments: dict[str, Any]
    ) -> Observation:
        """Take what the inner agent submits, and submit it with its confidence."""
        answer = read(trial.brief.task, arguments)
        if answer is None:
            return await trial.call("submit", **arguments)
        judged = await self._judged(trial, seen, answer)
        return await self._submit(trial, answer, judged)

    async def _judged(
        self, trial: TrialHandle, seen: list[Observation], answer: Answer
    ) -> dict[str, Any]:
        """Elicit what the ablation leaves, as fields of the record."""
        if self._judge is None or fixed(answer):
            return {}
        searched = query(trial.brief, seen)
        found = []
        if self._ablation == "none":
            found = references(self._memory or _content_memory(), trial.brief, seen)
        case = Case(trial.brief, seen, found, searched, claim(answer))
        judgement = await self._judge.judge(case, trial)
        if judgement.judge_calls:
            lines = [json.dumps(one, sort_keys=True) for one in judgement.transcript]
            trial.keep(TRANSCRIPT, ("\n".join(lines) + "\n").encode())
        return _fields(judgement) | {"references": [r.id for r in found]}

    async def _submit(
        self, trial: TrialHandle, answer: Answer, elicited: dict[str, Any]
    ) -> Observation:
        """Decide on the confidence, leave the record, submit."""
        told = {
            "task": trial.brief.task,
            "inner": self._inner,
            "ablation": self._ablation,
            "judge": self._judge_kind if self._judge else None,
            "prompts": self._prompts,
            "stated": stated(answer),
            "source": "uncalibrated",
            "confidence": stated(answer),
            **elicited,
        }
        record = self._decided(Elicited.model_validate(told), answer)
        arguments = answer.model_dump(mode="json", exclude={"task"})
        if record.source != "unchanged":
            arguments = with_confidence(answer, record.confidence, app=trial.brief.namespace)
        trial.keep(FILE, (record.model_dump_json(by_alias=True, indent=2) + "\n").encode())
        trial.note(_said(record))
        return await trial.call("submit", **arguments)

    def _decided(self, record: Elicited, answer: Answer) -> Elicited:
        why = fixed(answer)
        if not why and not record.complete:
            why = "no vote of the judge was valid"
            if self._ablation == "self-consistency":
                why = "a repair cannot be tried several times"
        if why:
            return record.model_copy(update={"source": "unchanged", "why": why})
        mapping, seen = self._mapping, record.seen()
        if mapping is None or record.task not in mapping.tasks:
            why = "" if mapping is None else f"the mapping says nothing of {record.task}"
            return record.model_copy(update={"confidence": uncalibrated(seen), "why": why})
        found = {"source": "mapped", "mapping": self._digest}
        return record.model_copy(update={"confidence": mapping.confidence(seen), **found})

    def _make(self) -> Agent:
        return self._loader.build(self._inner_args, self._model)

    @property
    def _prompts(self) -> str:
        """Version of the prompts that the judge is asked with; empty without any."""
        return VERSION if isinstance(self._judge, ModelJudge) else ""

    def _check_mapping(self) -> None:
        mapping = self._mapping
        if mapping is None:
            return
        judge = self._judge_kind if self._judge else None
        if (mapping.ablation, mapping.judge) != (self._ablation, judge):
            raise UsageError(
                f"the mapping was fitted with ablation {mapping.ablation!r} and judge"
                f" {mapping.judge!r}, this is {self._ablation!r} and {judge!r}",
                hint="give the same -A ablation and -A judge, or fit another mapping",
            )
        if mapping.prompts != self._prompts:
            raise UsageError(
                f"the mapping was fitted on votes for the prompts {mapping.prompts!r}, these are"
                f" {self._prompts!r}",
                hint="fit another mapping: aiopslab calibrate fit RUN -o mapping.json",
            )


class _Watched(DelegatingTrial):
    """The inner agent's handle: what it saw is remembered, its answer goes through ``pace``."""

    def __init__(self, trial: TrialHandle, pace: Pace) -> None:
        super().__init__(trial)
        self._pace = pace
        self._seen: list[Observation] = []

    async def call(self, name: str, /, **arguments: Any) -> Observation:
        if name == "submit":
            return await self._pace.answered(self.trial, self._seen, arguments)
        seen = await self.trial.call(name, **arguments)
        self._seen.append(seen)
        return seen


def _one_of(name: str, value: str, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise UsageError(f"{name}={value!r} is unknown", hint=f"-A {name}={' | '.join(known)}")
    return value


def _arguments(text: str) -> dict[str, str]:
    """Read the inner agent's arguments as text, the way ``-A`` gives them."""
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        given = error
    if not isinstance(given, dict):
        raise UsageError(
            f"inner_args={text!r} is no JSON object", hint="""-A inner_args='{"repairs": 2}'"""
        )
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in given.items()}


def _check_inner(
    loader: AgentLoader, arguments: dict[str, str], model: ModelSettings | None
) -> None:
    loader.preflight(arguments, model)
    if loader.line is not None or getattr(loader.build(arguments, model), "needs_doors", False):
        raise UsageError(
            f"agent {loader.spec.name!r} submits through the trial's doors, where no confidence "
            "can be replaced",
            hint="-A inner=NAME of an agent that calls trial.call('submit', ...)",
        )


def _judge(kind: str, model: ModelSettings | None, votes: int, prices: Prices) -> Judge:
    if kind == "scripted":
        return ScriptedJudge()
    if model is None:
        raise PreflightError("judge=model needs a model", hint="--model PROVIDER/NAME")
    if importlib.util.find_spec("openai") is None:
        raise PreflightError("judge=model needs openai", hint="pip install 'aiopslab[openai]'")
    return ModelJudge(model, votes, prices)


def _mapping(path: str) -> tuple[ConfidenceMapping | None, str]:
    """Read a mapping and its digest."""
    if not path:
        return None, ""
    try:
        data = Path(path).read_bytes()
        return ConfidenceMapping.model_validate_json(data), hashlib.sha256(data).hexdigest()
    except OSError as error:
        raise UsageError(
            f"mapping={path!r} cannot be read: {error.strerror}",
            hint="aiopslab calibrate fit RUN -o mapping.json",
        ) from error
    except ValidationError as error:
        said = error.errors()[0]["msg"]
        raise UsageError(f"mapping={path!r} is no mapping: {said}") from error


def _content_memory() -> Memory:
    """Return the past incidents of the content."""
    from aiopslab.tools.memory import IncidentMemory

    return IncidentMemory.load()


def _fields(judgement: Judgement) -> dict[str, Any]:
    names = (
        "coe", "rce", "coe_votes", "rce_votes", "invalid_votes", "judge_calls", "judge_tokens_in",
        "judge_tokens_out",
    )  # fmt: skip
    return {name: getattr(judgement, name) for name in names}


def _said(record: Elicited) -> str:
    """Return the record in a line, as a thought of the trial."""
    seen = ", ".join(f"{name} {value:.2f}" for name, value in record.seen().items())
    parts = [f"confidence {record.confidence:.3f} ({record.source}) from {seen or 'nothing'}"]
    parts += [record.why] if record.why else []
    if record.judge_calls:
        tokens = record.judge_tokens_in + record.judge_tokens_out
        parts.append(f"judge: {record.judge_calls} calls, {tokens} tokens")
    return "; ".join(parts)
