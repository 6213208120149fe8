"""Take the digests that a run is pinned to. Not here: their model (``models.lock``)."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiopslab import content
from aiopslab._version import __version__
from aiopslab.agents.spec import AgentSpec, ArgSpec
from aiopslab.grading import SCORING_VERSION
from aiopslab.models.context_profile import ContextChoice
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.lock import Lock
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.orchestrator import documents

if TYPE_CHECKING:
    # Reports take an incident's digest, and need no world for it.
    from aiopslab.orchestrator.lab import Lab

_NOT_CONTENT = ("__pycache__", ".pyc")


def take(lab: Lab, config: RunConfig, trials: Sequence[PlannedTrial]) -> Lock:
    """Digest everything that the numbers of these trials depend on."""
    incidents: dict[str, str] = {}
    apps: dict[str, str] = {}
    for name in sorted({t.incident for t in trials}):
        drawn = lab.draw(name, config.trial_seed(1))
        incidents[name] = incident_digest(drawn.spec)
        app = drawn.app.name
        if app not in apps:
            folder = _digest_files(_room("services", f"{app}/**/*"))
            apps[app] = _digest_text(documents.encode(drawn.app) + folder)
    return Lock(
        version=__version__,
        harness=_digest_files(_tree(Path(__file__).parents[1], "**/*.py")),
        scoring_version=SCORING_VERSION,
        suite=_digest_text(documents.encode([t.model_dump(mode="json") for t in trials])),
        incidents=incidents,
        apps=apps,
        agent=_agents_digest(config.agents_of(trials), config.agent_args),
        rules=_digest_files(_room("telemetry", "**/*.yaml")),
        context=_context(config.context),
    )


def _context(choice: ContextChoice) -> dict[str, str]:
    if choice == ContextChoice():
        return {}
    said: dict[str, str] = {"profile": choice.profile, "delivery": choice.delivery}
    memory = _digest_files(_room("problems", "memory/*.jsonl"))
    return {**said, "memory": memory} if choice.remembers else said


def incident_digest(spec: IncidentSpec) -> str:
    """Digest an incident's file as a run's lock has it."""
    return _digest_text(documents.encode(_played(spec)))


def of_incident(spec: IncidentSpec) -> str:
    """Digest an incident's file, short: what rows of a measurement carry.

    Without ``solved_by``, which is what such a measurement finds out.
    """
    return _digest_text(documents.encode(_played(spec) | {"solved_by": {}}))[:12]


def _played(spec: IncidentSpec) -> dict[str, Any]:
    """Return an incident's file without what says where it can be played."""
    return spec.model_dump(mode="json", by_alias=True, exclude={"simulated_only"})


def _agents_digest(agents: Sequence[str], arguments: Mapping[str, str]) -> str:
    digests = [_digest_with_arguments(agent, arguments) for agent in agents]
    return digests[0] if len(digests) == 1 else _digest_text(documents.encode(digests))


def _digest_with_arguments(agent: str, arguments: Mapping[str, str]) -> str:
    """Digest an agent with the agents and files that its arguments name."""
    own = _agent_digest(agent)
    named = {
        name: _named_digest(arg.type, str(arguments.get(name, arg.default)))
        for name, arg in _arguments(agent).items()
        if arg.type in ("agent", "file")
    }
    return _digest_text(documents.encode([own, named])) if named else own


def _arguments(agent: str) -> dict[str, ArgSpec]:
    """Return what an agent's folder says of its arguments; nothing where it has no folder."""
    if (Path(agent) / "agent.yaml").is_file():
        return content.load_model(Path(agent) / "agent.yaml", AgentSpec).args
    for path in content.files("agents", "*/agent.yaml"):
        if path.parent.name == agent:
            return content.load_model(path, AgentSpec).args
    return {}


def _named_digest(kind: str, value: str) -> list[str]:
    """Digest what an argument names. What it is called counts too: built-ins have no files."""
    if kind == "agent":
        return [value, _agent_digest(value)]
    return ["", _digest_files([("", Path(value))]) if value else ""]


def _agent_digest(agent: str) -> str:
    """Digest the files of an agent; built-in agents are part of the harness."""
    if agent.startswith(("cmd:", "webhook:")):
        # Their code is elsewhere; what can be pinned is how they are called.
        return _digest_text(agent)
    source, _, name = agent.rpartition(":")
    if name and source.endswith(".py"):
        return _digest_files([(Path(source).name, Path(source))])
    if source:
        found = importlib.util.find_spec(source)
        origin = found.origin if found is not None else None
        return _digest_files([(source, Path(origin))]) if origin is not None else ""
    if Path(agent).is_dir():
        return _digest_files(_tree(Path(agent), "**/*"))
    return _digest_files(_room("agents", f"{agent}/**/*"))


def _room(room: content.Room, pattern: str) -> list[tuple[str, Path]]:
    """Name the files of a content room by their path below it, wherever the room is."""
    named = []
    for path in content.files(room, pattern):
        parts = path.parts
        named.append(("/".join(parts[len(parts) - parts[::-1].index(room) :]), path))
    return named


def _tree(root: Path, pattern: str) -> list[tuple[str, Path]]:
    return [(p.relative_to(root).as_posix(), p) for p in sorted(root.glob(pattern))]


def _digest_files(files: Iterable[tuple[str, Path]]) -> str:
    """Digest names and contents; an empty string where there are no files."""
    digest, found = hashlib.sha256(), False
    for name, path in sorted(files):
        if not path.is_file() or any(part in str(path) for part in _NOT_CONTENT):
            continue
        found = True
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest() if found else ""


def _digest_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
