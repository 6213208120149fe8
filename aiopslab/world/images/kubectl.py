"""The kubectl image: what automations inside the cluster change it with.

A small part of the client, acting as its pod's service account: ``delete pods -l`` and
``scale``. Role objects are not evaluated (``kube.authorization``). Not here: the kubectl that
agents have (``tools.kubectl``), the API they speak to (``kube.api``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiopslab.models.kube import ExecResult, KubeError
from aiopslab.world.container import Container
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.objects import name_of
from aiopslab.world.kube.options import DeleteOptions

IMAGE = "registry.k8s.io/kubectl:v1.34.2"
START_CPU_S = 0.05
"""CPU time of a Go client that loads its configuration and discovers the API."""


class UsageProblem(Exception):
    """The command line is none; the text is what kubectl says."""


class Kubectl:
    """The program of a kubectl container.

    Args:
        api: The API server it speaks to.
    """

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    def accepts(self, command: Sequence[str]) -> bool:
        """Tell whether the image has the executable of a ``command`` override."""
        return command[0].rpartition("/")[2] == "kubectl"

    async def run(self, box: Container) -> int:
        """Carry out one command; its output is the container's log."""
        await box.burn(START_CPU_S)
        argv = [*box.command[1:], *box.args]
        try:
            lines = self._carry_out(argv, box.pod.namespace)
        except KubeError as error:
            box.log(f"Error from server ({error.reason}): {error.message}", severity="ERROR")
            return 1
        except UsageProblem as problem:
            box.log(f"error: {problem}", severity="ERROR")
            return 1
        for line in lines:
            box.log(line)
        return 0

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        """Leave every command to the shell."""
        return None

    def _carry_out(self, argv: Sequence[str], own: str) -> list[str]:
        words, flags = _parse(argv)
        namespace = flags.get("namespace", own)
        actor = f"system:serviceaccount:{own}:default"
        match words:
            case ["delete", "pod" | "pods"] if "selector" in flags:
                return self._delete(namespace, flags, actor)
            case ["scale", target] if _COUNT.fullmatch(flags.get("replicas", "")):
                return self._scale(namespace, target, int(flags["replicas"]), actor)
        raise UsageProblem(f"unknown command: {' '.join(argv)}")

    def _delete(self, namespace: str, flags: dict[str, str], actor: str) -> list[str]:
        grace = flags.get("grace-period", "")
        options = DeleteOptions(grace_s=int(grace) if _COUNT.fullmatch(grace) else None)
        found = self._api.delete_collection(
            "Pod", namespace, labels=flags["selector"], actor=actor, options=options
        )
        return [f'pod "{name_of(pod)}" deleted' for pod in found] or ["No resources found"]

    def _scale(self, namespace: str, target: str, replicas: int, actor: str) -> list[str]:
        kind, slash, name = target.partition("/")
        if not slash:
            raise UsageProblem("there is no need to specify a resource type without a name")
        self._api.patch(
            kind,
            name,
            {"spec": {"replicas": replicas}},
            namespace=namespace,
            type="merge",
            subresource="scale",
            actor=actor,
        )
        return [f"{self._api.kind(kind).kind.lower()}.apps/{name} scaled"]


_COUNT = re.compile(r"[0-9]{1,18}")
_SHORT = {"-n": "namespace", "-l": "selector"}


def _parse(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Split a command line into words and flags, ``--flag=value`` or ``-f value``.

    Raises:
        UsageProblem: A short flag is unknown or lacks its value.
    """
    words: list[str] = []
    flags: dict[str, str] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            flags[name] = value
        elif word.startswith("-"):
            if word not in _SHORT or not rest:
                raise UsageProblem(f"unknown shorthand flag: {word}")
            flags[_SHORT[word]] = rest.pop(0)
        else:
            words.append(word)
    return words, flags
