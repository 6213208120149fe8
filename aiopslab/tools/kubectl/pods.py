"""``kubectl logs`` and ``kubectl exec``.

Not here: the same over the wire (``wire.kubernetes``), searching logs of all pods (``logs``).
"""

from __future__ import annotations

from aiopslab.models.kube import KubeError, Object
from aiopslab.models.timestamps import unix
from aiopslab.tools.context import Result, ToolContext, ToolRefused
from aiopslab.tools.kube_read import execute
from aiopslab.tools.kubectl.flags import Line, flags
from aiopslab.tools.kubectl.output import nothing_found
from aiopslab.tools.kubectl.select import Chosen, kind_of, space
from aiopslab.world.images.shell_input import is_plain_shell
from aiopslab.world.kube.objects import annotations_of, dig, is_true, name_of
from aiopslab.world.kube.selectors import format_selector

LOGS = flags(
    "namespace/n container/c previous/p? tail/ since/ since-time/ timestamps/? selector/l "
    "all-containers/? prefix/? follow/f? limit-bytes/ max-log-requests/ all-pods/? "
    "ignore-errors/? pod-running-timeout/ request-timeout/"
)
EXEC = flags(
    "namespace/n container/c stdin/i? tty/t? quiet/q? pod-running-timeout/ request-timeout/"
)

_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_SELECTED_TAIL = 10
"""Lines a pod where pods are selected and nothing else is said."""


async def logs(context: ToolContext, line: Line) -> Result:
    """Print what containers wrote."""
    if line.on("follow"):
        raise ToolRefused(
            "error: -f would not end here; use the wait tool and ask again, --since=1m"
        )
    if line.get("since") and line.get("since-time"):
        raise ToolRefused("error: at most one of `sinceTime` or `sinceSeconds` may be specified")
    namespace = line.get("namespace") or context.namespace
    notes: list[str] = []
    if line.get("selector"):
        pods = await context.env.kube.list("Pod", namespace, labels=line.get("selector"))
    elif line.words:
        pods = await _meant(context, line, line.words[0], namespace, notes)
    else:
        raise ToolRefused(
            "error: expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\n"
            "POD or TYPE/NAME is a required argument for the logs command"
        )
    container = line.get("container") or (line.words[1] if len(line.words) > 1 else "")
    text = []
    for pod in pods:
        for name in _containers(line, pod, container, notes):
            lines = await _lines(context, line, pod, name)
            prefix = f"[pod/{name_of(pod)}/{name}] " if line.on("prefix") else ""
            text += [f"{prefix}{row}" for row in lines]
    if not pods:
        kind = Chosen(kind_of("pods"), [], by_name=False)
        return Result(nothing_found(context, line, [kind]), [], 0)
    whole = "\n".join([*notes, *text])
    limit = line.number("limit-bytes")
    return Result(whole[:limit] if limit else whole or "(no output)", text, len(text))


async def _lines(context: ToolContext, line: Line, pod: Object, container: str) -> list[str]:
    """Return the lines of one container."""
    tail = line.number("tail")
    if tail is None and line.get("selector"):
        tail = _SELECTED_TAIL
    since = line.seconds("since")
    if line.get("since-time"):
        try:
            since = max(0.0, context.env.now() - unix(line.get("since-time")))
        except ValueError as error:
            raise ToolRefused(f'error: parsing time "{line.get("since-time")}"') from error
    text = await context.env.kube.logs(
        name_of(pod), str(pod["metadata"]["namespace"]), container=container,
        previous=line.on("previous"), tail=tail if tail is not None and tail >= 0 else None,
        since_s=since, timestamps=line.on("timestamps"),
    )  # fmt: skip
    return text.splitlines()


def _containers(line: Line, pod: Object, wanted: str, notes: list[str]) -> list[str]:
    """Return the containers whose output is meant; says so where one is taken by default."""
    main = [str(c["name"]) for c in dig(pod, "spec", "containers", default=())]
    init = [str(c["name"]) for c in dig(pod, "spec", "initContainers", default=())]
    if line.on("all-containers"):
        return [*init, *main]
    if wanted:
        if wanted not in main + init:
            raise ToolRefused(
                f"error: container {wanted} is not valid for pod {name_of(pod)} out of: "
                f"{', '.join(main + init)}"
            )
        return [wanted]
    return [_default(pod, main, notes)]


def _default(pod: Object, names: list[str], notes: list[str]) -> str:
    noted = annotations_of(pod).get(_DEFAULT_CONTAINER)
    if noted in names:
        return str(noted)
    if len(names) > 1:
        notes.append(f'Defaulted container "{names[0]}" out of: {", ".join(names)}')
    return names[0]


async def _meant(
    context: ToolContext, line: Line, word: str, namespace: str, notes: list[str]
) -> list[Object]:
    """Return the pod of a name, or one (with ``--all-pods`` all) of a workload's."""
    kube = context.env.kube
    type_, slash, name = word.partition("/")
    kind = kind_of(type_) if slash else kind_of("pods")
    if kind.kind == "Pod":
        return [await _pod(context, name if slash else word, namespace)]
    owner = await kube.get(kind.kind, name, namespace)
    selector = dig(owner, "spec", "selector", default={})
    if kind.kind == "Service":
        selector = {"matchLabels": selector}
    if not selector:
        raise ToolRefused(f"error: no pods are selected by {kind.kind.lower()}/{name}")
    pods = await kube.list("Pod", namespace, labels=format_selector(selector))
    pods.sort(key=_preference)
    if not pods:
        raise ToolRefused(f"error: timed out waiting for the condition: {word} has no pod")
    if line.on("all-pods"):
        return pods
    if len(pods) > 1:
        notes.append(f"Found {len(pods)} pods, using pod/{name_of(pods[0])}")
    return pods[:1]


async def _pod(context: ToolContext, name: str, namespace: str) -> Object:
    try:
        return await context.env.kube.get("Pod", name, namespace)
    except KubeError as error:
        if error.reason != "NotFound":
            raise
        raise ToolRefused(
            f'error: error from server (NotFound): {error.message} in namespace "{namespace}"'
        ) from error


def _preference(pod: Object) -> tuple[bool, bool, str, str]:
    """Order pods as kubectl does: those that run and are ready first, the older first."""
    running = dig(pod, "status", "phase") == "Running"
    created = str(pod["metadata"].get("creationTimestamp", ""))
    return not running, not is_true(pod, "Ready"), created, name_of(pod)


# -- exec -----------------------------------------------------------------------------------------


async def exec(context: ToolContext, line: Line, stdin: str) -> Result:
    """Run a command in a container."""
    if line.command is None or not line.command:
        if len(line.words) > 1:
            raise ToolRefused(
                "error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] "
                "instead"
            )
        raise ToolRefused("error: you must specify at least one command for the container")
    if not line.words:
        raise ToolRefused("error: pod, type/name or --filename must be specified")
    command = line.command
    if is_plain_shell(command) and not stdin:
        raise ToolRefused(
            "error: no interactive shell can be served here; give it a script: "
            f"-- {command[0]} -c 'env | sort'"
        )
    namespace = space(context, line, kind_of("pods")) or context.namespace
    if namespace != context.namespace:
        raise _not_here(context, namespace)
    [pod] = await _meant(context, line, line.words[0], namespace, [])
    notes: list[str] = []
    phase = dig(pod, "status", "phase", default="Pending")
    if phase in ("Succeeded", "Failed"):
        raise ToolRefused(
            f"error: cannot exec into a container in a completed pod; current phase is {phase}"
        )
    names = _containers(line, pod, line.get("container"), notes)
    done = await execute(context, name_of(pod), namespace, command, container=names[0], stdin=stdin)
    return Result("\n".join([*notes, done.text]), done.data)


def _not_here(context: ToolContext, namespace: str) -> KubeError:
    text = (
        f'pods is forbidden: User "{context.actor}" cannot create resource "pods/exec" in API '
        f'group "" in the namespace "{namespace}"'
    )
    return KubeError(403, "Forbidden", text)
