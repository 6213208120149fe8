"""Does anything an agent can read give the fault away?

Looks at everything at hand-over: all objects of all namespaces, the environment of every
container, all telemetry, and the brief. Forbidden are the names of the incident and its fault
kinds, and words that only a lab would use. Not forbidden: the vocabulary of causes, which every
agent gets in full.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from aiopslab.agents.protocol import TrialHandle
from aiopslab.environments.protocol import Environment
from aiopslab.errors import AgentError
from aiopslab.models.answer import Detection
from aiopslab.models.kube import KubeError
from aiopslab.orchestrator.staging import Staged
from aiopslab.telemetry.frames import SIGNALS
from aiopslab.world.kube import kinds

LAB_WORDS = ("fault", "inject", "chaos", "simulat", "aiopslab", "benchmark", "distractor")
"""Stems that no object, line or name of the world may contain."""
HONEST = re.compile(r"default|pgmajfault|page faults?", re.IGNORECASE)
"""Contain ``fault``: Kubernetes is full of defaults, and the kernel of page faults."""
MAX_HITS = 20


class LeakFound(AgentError):
    """Something readable names the fault; the message lists where."""


class Snoop:
    """Reads everything; fails the trial if anything speaks.

    Args:
        staged: The world at hand-over. Like the oracle, this player is given the truth.
    """

    def __init__(self, staged: Staged) -> None:
        self._env = staged.env
        spec = staged.drawn.spec
        names = {spec.name, *(f.kind for f in spec.faults)}
        self._words = [word.casefold() for word in (*sorted(names), *LAB_WORDS)]
        self._forbidden = re.compile("|".join(map(re.escape, self._words)), re.IGNORECASE)

    async def run(self, trial: TrialHandle) -> None:
        """Look, then answer.

        Raises:
            LeakFound: Something speaks.
        """
        hits = [f"brief: {h}" for h in self.scan([trial.brief.model_dump_json()])]
        for where, texts in [*await objects(self._env), *await telemetry(self._env)]:
            hits += [f"{where}: {hit}" for hit in self.scan(texts)]
        for where, texts in await environments(self._env):
            hits += [f"{where}: {hit}" for hit in self.scan(texts)]
        if hits:
            raise LeakFound("; ".join(hits[:MAX_HITS]))
        answer = Detection(anomaly=True, confidence=1.0).model_dump(exclude={"task"})
        await trial.call("submit", **answer)

    def scan(self, texts: Iterable[str]) -> Iterator[str]:
        """Yield the surroundings of every forbidden word."""
        texts = list(texts)
        together = "\n".join(texts).casefold()
        if not any(word in together for word in self._words):
            # Nearly always: most texts are ids, and there are a hundred thousand of them.
            return
        for text in texts:
            for match in self._forbidden.finditer(HONEST.sub("-------", text)):
                yield repr(text[max(0, match.start() - 30) : match.end() + 30])


Texts = list[tuple[str, list[str]]]


async def objects(env: Environment) -> Texts:
    """Return every object as JSON, by kind."""
    return [
        (kind, [json.dumps(o, sort_keys=True) for o in await env.kube.list(kind)])
        for kind in sorted(kinds.BY_KIND)
    ]


async def telemetry(env: Environment) -> Texts:
    """Return every distinct text of every signal, by signal and column."""
    found: Texts = []
    for signal in SIGNALS:
        frame = await env.telemetry.frame(signal)
        for column in frame.columns:
            if frame[column].dtype.kind in "fiubM":
                continue
            texts = sorted({str(value) for value in frame[column].unique()})
            found.append((f"{signal}.{column}", texts))
    posts = await env.telemetry.status_posts(since=0.0)
    return [*found, ("status pages", [post.text for post in posts])]


async def environments(env: Environment) -> Texts:
    """Return the environment of every running container of the app."""
    found: Texts = []
    for pod in await env.kube.list("Pod", env.namespace):
        name = pod["metadata"]["name"]
        for container in pod["spec"]["containers"]:
            try:
                done = await env.kube.exec(
                    name, env.namespace, ["env"], container=container["name"]
                )
            except KubeError:
                # Not running: it has no environment to read.
                continue
            found.append((f"env of {name}", [done.stdout, done.stderr]))
    return found
