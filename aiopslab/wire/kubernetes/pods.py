"""What every subresource of a pod begins with: its parameters, and which container is meant.

``log``, ``exec``, ``attach`` and ``portforward`` read their query the same way and refuse in the
same words. Not here: what they do then (this module's neighbours).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiopslab.models.kube import KubeError, Object
from aiopslab.wire.identity import Identity
from aiopslab.wire.kubernetes.access import require
from aiopslab.wire.kubernetes.resources import find
from aiopslab.wire.kubernetes.target import Target
from aiopslab.world.kube.errors import no_such_resource

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False", ""})


def authorize(who: Identity, verb: str, subresource: str, name: str, namespace: str) -> None:
    """Let an allowed request to a pod's subresource pass.

    Raises:
        KubeError: 403.
    """
    pods = find("", "v1", "pods")
    if pods is None:
        raise no_such_resource()
    require(who, verb, Target(pods, namespace, name, subresource))


def flag(query: QueryParams, name: str) -> bool:
    """Read a boolean parameter; absent is false.

    Raises:
        KubeError: 400, it is neither.
    """
    text = query.get(name, "")
    if text not in TRUE | _FALSE:
        raise _bad(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in TRUE


def number(query: QueryParams, name: str) -> int | None:
    """Read a whole number; None if absent.

    Raises:
        KubeError: 400, it is none.
    """
    text = query.get(name)
    if not text:
        return None
    digits = text[1:] if text[0] in "+-" else text
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise _bad(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def choose_container(pod: Object, wanted: str | None) -> str:
    """Return the container that is meant; without a name, the only one.

    Raises:
        KubeError: 400, several to choose from, or none of that name.
    """
    main = _names(pod, "containers")
    init = _names(pod, "initContainers")
    name: str = pod["metadata"]["name"]
    if wanted:
        if wanted not in main + init:
            raise _bad(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(main) == 1:
        return main[0]
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    raise _bad(text)


def _names(pod: Object, field: str) -> list[str]:
    return [str(c["name"]) for c in pod["spec"].get(field) or ()]


def _bad(message: str) -> KubeError:
    return KubeError(400, "BadRequest", message)
