"""The ``kubectl`` tool: arguments, never a shell line; run in process, without the program.

Reads the verb and its flags and hands over to the modules that know the verbs. What cannot be done
here (files, pipes, other clusters, what would not end) is refused with what to do instead. Not
here: the verbs (``kubectl.*``), the same API for the real program (``wire.kubernetes``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pydantic import Field

from aiopslab.content import near
from aiopslab.environments.commands import command_effect
from aiopslab.models.observation import Effect
from aiopslab.tools.context import Paged, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.kubectl import about as kubectl_about
from aiopslab.tools.kubectl import apply as kubectl_apply
from aiopslab.tools.kubectl import pods as kubectl_pods
from aiopslab.tools.kubectl import read as kubectl_read
from aiopslab.tools.kubectl import rollout as kubectl_rollout
from aiopslab.tools.kubectl import set as kubectl_set
from aiopslab.tools.kubectl import write as kubectl_write
from aiopslab.tools.kubectl.flags import Flag, Line, flags, read
from aiopslab.world.kube.errors import forbidden
from aiopslab.world.kube.kinds import BY_KIND

Run = Callable[[ToolContext, Line, str], Awaitable[Result]]


class KubectlArgs(Paged):
    """Arguments of ``kubectl``."""

    args: list[str] = Field(min_length=1, max_length=200)
    """One word each, for instance ["get", "pods", "-o", "wide"]; there is no shell around them."""
    stdin: str = ""
    """Standard input: the manifest of -f -, or what exec -i feeds to its command."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: its flags, what it does, and whether a command line changes anything."""

    flags: tuple[Flag, ...]
    run: Run
    writes: Callable[[Line], bool] = lambda _: False


def _always(_line: Line) -> bool:
    return True


def _plain(run: Callable[[ToolContext, Line], Awaitable[Result]]) -> Run:
    """Let a verb be that has no use for standard input."""
    return lambda context, line, _stdin: run(context, line)


async def _node(context: ToolContext, line: Line) -> Result:
    """Refuse to change nodes: they belong to the whole cluster, no task's rights reach so far."""
    name = line.words[-1] if line.words else ""
    what = 'patch resource "nodes" in API group "" at the cluster scope'
    why = forbidden(BY_KIND["Node"], name, f'User "{context.actor}" cannot {what}')
    raise ToolRefused(f'error: unable to {line.verb} node "{name}": {why.message}')


_NODE = flags(
    "ignore-daemonsets/? delete-emptydir-data/? force/? grace-period/ selector/l timeout/ "
    "pod-selector/ dry-run/=unchanged overwrite/? disable-eviction/?"
)
_VERBS: dict[str, Verb] = {
    "get": Verb(kubectl_read.GET, _plain(kubectl_read.get)),
    "describe": Verb(kubectl_read.DESCRIBE, _plain(kubectl_read.describe)),
    "events": Verb(kubectl_read.EVENTS, _plain(kubectl_read.events)),
    "top": Verb(kubectl_read.TOP, _plain(kubectl_read.top)),
    "logs": Verb(kubectl_pods.LOGS, _plain(kubectl_pods.logs)),
    "exec": Verb(kubectl_pods.EXEC, kubectl_pods.exec),
    "explain": Verb(kubectl_about.EXPLAIN, _plain(kubectl_about.explain)),
    "api-resources": Verb(kubectl_about.API_RESOURCES, _plain(kubectl_about.api_resources)),
    "api-versions": Verb(kubectl_about.PLAIN, _plain(kubectl_about.api_versions)),
    "auth": Verb(kubectl_about.AUTH, _plain(kubectl_about.auth)),
    "version": Verb(kubectl_about.VERSION_FLAGS, _plain(kubectl_about.version)),
    "cluster-info": Verb(kubectl_about.PLAIN, _plain(kubectl_about.cluster_info)),
    "rollout": Verb(
        kubectl_rollout.ROLLOUT, _plain(kubectl_rollout.rollout),
        lambda line: line.words[:1] not in ([], ["status"], ["history"]),
    ),
    "scale": Verb(kubectl_write.SCALE, _plain(kubectl_write.scale), _always),
    "set": Verb(kubectl_set.SET, _plain(kubectl_set.set_), lambda line: not line.on("list")),
    "patch": Verb(kubectl_write.PATCH, _plain(kubectl_write.patch), _always),
    "label": Verb(
        kubectl_write.LABEL, _plain(kubectl_write.label_), lambda line: not line.on("list")
    ),
    "annotate": Verb(
        kubectl_write.LABEL, _plain(kubectl_write.label_), lambda line: not line.on("list")
    ),
    "apply": Verb(kubectl_apply.APPLY, kubectl_apply.apply, _always),
    "create": Verb(kubectl_apply.CREATE, kubectl_apply.create, _always),
    "replace": Verb(kubectl_apply.REPLACE, kubectl_apply.replace, _always),
    "delete": Verb(kubectl_write.DELETE, kubectl_write.delete, _always),
    "cordon": Verb(_NODE, _plain(_node), _always),
    "uncordon": Verb(_NODE, _plain(_node), _always),
    "drain": Verb(_NODE, _plain(_node), _always),
    "taint": Verb(_NODE, _plain(_node), _always),
}  # fmt: skip
_ALIASES = {"log": "logs", "ev": "events", "api-resource": "api-resources"}

_INSTEAD = {
    "port-forward": "run curl in a pod: exec POD -- curl -s http://SERVICE:PORT/path",
    "proxy": "use get --raw PATH",
    "attach": "use logs",
    "debug": "containers cannot be added to pods here; use exec and logs",
    "cp": "read files with exec POD -- cat FILE",
    "edit": "use patch, set, or apply -f - with the manifest in stdin",
    "config": "the cluster and the identity are given",
    "plugin": "there are no plugins",
    "wait": "use the wait tool, then get",
    "diff": "use apply -f - --dry-run=server -o yaml, and get -o yaml",
    "run": "use create -f - with a Pod in stdin",
    "expose": "use create -f - with a Service in stdin",
    "autoscale": "use create -f - with a HorizontalPodAutoscaler in stdin",
    "kustomize": "use apply -f - with the objects in stdin",
    "certificate": "certificates are not served here",
    "completion": "there is no shell here",
}
_ELSEWHERE = frozenset(
    {
        "kubeconfig", "context", "cluster", "user", "server", "token", "as", "as-group", "as-uid",
        "certificate-authority", "client-certificate", "client-key", "username", "password",
        "insecure-skip-tls-verify", "tls-server-name", "cache-dir",
    }
)  # fmt: skip
_SHELL = frozenset({"|", "||", "&&", "&", ";", ">", ">>", "<", "<<", "2>", "2>&1", "|&"})
_WRITE_S, _READ_S = 5.0, 2.0


def _effect(args: KubectlArgs) -> Effect:
    """Judge a command line; one that will be refused changes nothing."""
    try:
        verb, line = _parsed(args.args)
    except ToolRefused:
        return "read"
    if line.verb == "exec":
        return command_effect(line.command or [], args.stdin)
    return "write" if verb.writes(line) else "read"


def _cost(args: KubectlArgs) -> float:
    return _WRITE_S if _effect(args) == "write" else _READ_S


@tool(KubectlArgs, effect_of=_effect, cost_of=_cost)
async def kubectl(context: ToolContext, args: KubectlArgs) -> Result:
    """Run kubectl with these arguments (a list of words, not a shell line).

    get, describe, logs, events, top, exec, explain, api-resources, auth, version; for mitigation
    also rollout, scale, set, patch, label, annotate, apply and create -f - (manifest in stdin),
    replace, delete.
    """
    verb, line = _parsed(args.args)
    return await verb.run(context, line, args.stdin)


def _parsed(given: Sequence[str]) -> tuple[Verb, Line]:
    """Find the verb and read its flags.

    Raises:
        ToolRefused: In kubectl's words, or with what to do instead.
    """
    words = list(given[1:] if given[0] == "kubectl" else given)
    if len(words) == 1 and " " in words[0].strip():
        raise ToolRefused(
            f"error: {words[0]!r:.80} is one word; give each argument on its own, for instance "
            '["get", "pods", "-n", "default"]'
        )
    own = words[: words.index("--")] if "--" in words else words
    for word in own:
        if word in _SHELL:
            raise ToolRefused(
                f"error: {word!r} needs a shell, and there is none; select with -l, "
                "--field-selector or names, print with -o jsonpath=... or custom-columns, sort "
                "with --sort-by, cut logs with --tail and --since"
            )
        name = word.lstrip("-").partition("=")[0]
        if (word.startswith("--") and name in _ELSEWHERE) or word == "-s":
            raise ToolRefused(f"error: {word} is not accepted: cluster and identity are given; "
                              "leave it out")  # fmt: skip
    leading, words = _global(words)
    if not words or words[0] in ("help", "--help", "-h"):
        raise ToolRefused(f"kubectl VERB ...; verbs: {', '.join(_VERBS)}")
    name = _ALIASES.get(words[0], words[0])
    if name in _INSTEAD:
        raise ToolRefused(f"error: kubectl {name} is not offered here: {_INSTEAD[name]}")
    verb = _VERBS.get(name)
    if verb is None:
        hint = near(name, list(_VERBS)) or f"verbs: {', '.join(_VERBS)}"
        raise ToolRefused(f'error: unknown command "{name}" for "kubectl"; {hint}')
    if any(word in ("--help", "-h") for word in own):
        raise ToolRefused(f"kubectl {name}; flags: {_usage(verb)}")
    return verb, read(name, [*leading, *words[1:]], verb.flags)


def _global(words: list[str]) -> tuple[list[str], list[str]]:
    """Split off the flags before the verb: they belong to it."""
    leading: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in ("--help", "-h"):
        word = rest.pop(0)
        leading.append(word)
        if word in ("-n", "--namespace") and rest:
            leading.append(rest.pop(0))
    return leading, rest


def _usage(verb: Verb) -> str:
    return ", ".join(
        f"-{f.short}/--{f.name}" if f.short else f"--{f.name}"
        for f in verb.flags
    )  # fmt: skip


TOOLS = (kubectl,)
