"""The refusals of the API server, in its own words.

The functions build the common ``models.kube.KubeError``s; validation adds its causes to
:func:`invalid`. Not here: the error tree of the project (``aiopslab.errors``); these are seen by
the programs and operators *in* the world.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiopslab.models.kube import KubeError, Object
from aiopslab.world.kube.kinds import Kind

_REASONS = {
    "Required value": "FieldValueRequired",
    "Duplicate value": "FieldValueDuplicate",
    "Unsupported value": "FieldValueNotSupported",
    "Forbidden": "FieldValueForbidden",
    "Not found": "FieldValueNotFound",
    "Too long": "FieldValueTooLong",
    "Too many": "FieldValueTooMany",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One invalid field: dotted path with list indexes, and the server's words about it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message

    def as_status(self) -> Object:
        """Return it as an item of ``details.causes`` of a ``Status``."""
        words = self.message.partition(":")[0]
        reason = _REASONS.get(words, "FieldValueInvalid")
        return {"reason": reason, "message": self.message, "field": self.path}


def _details(kind: Kind, name: str) -> Object:
    return {"name": name, "group": kind.group, "kind": kind.plural}


def not_found(kind: Kind, name: str) -> KubeError:
    """404: no object of that name, or not in that namespace."""
    message = f'{kind.resource} "{name}" not found'
    return KubeError(404, "NotFound", message, _details(kind, name))


def no_such_kind(name: str) -> KubeError:
    """404: no served kind goes by this name."""
    return KubeError(404, "NotFound", f'the server doesn\'t have a resource type "{name}"')


def no_match(name: str, version: str) -> KubeError:
    """400: an object says it is of a kind that is not served in that version."""
    return bad_request(f'no matches for kind "{name}" in version "{version}"')


def no_such_resource() -> KubeError:
    """404: the kind has no such subresource."""
    return KubeError(404, "NotFound", "the server could not find the requested resource")


def already_exists(kind: Kind, name: str) -> KubeError:
    """409: create of a name that is taken."""
    message = f'{kind.resource} "{name}" already exists'
    return KubeError(409, "AlreadyExists", message, _details(kind, name))


_MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def conflict(kind: Kind, name: str, why: str = _MODIFIED) -> KubeError:
    """409: the object is not the one the writer had in mind."""
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return KubeError(409, "Conflict", message, _details(kind, name))


def bad_request(message: str) -> KubeError:
    """400: the request cannot be read as an object of the kind."""
    return KubeError(400, "BadRequest", message)


def forbidden(kind: Kind, name: str, why: str) -> KubeError:
    """403: refused by authorization or admission; ``why`` completes the sentence."""
    subject = f'{kind.resource} "{name}"' if name else kind.resource
    message = f"{subject} is forbidden: {why}"
    return KubeError(403, "Forbidden", message, _details(kind, name))


def invalid(kind: Kind, name: str, causes: list[Cause]) -> KubeError:
    """422: readable, but not acceptable. Several causes are listed in brackets."""
    text = str(causes[0]) if len(causes) == 1 else f"[{', '.join(map(str, causes))}]"
    details: Object = {"name": name, "group": kind.group, "kind": kind.kind}
    details["causes"] = [cause.as_status() for cause in causes]
    return KubeError(422, "Invalid", f'{kind.qualified} "{name}" is invalid: {text}', details)


def invalid_patch(detail: str) -> KubeError:
    """422: the patched object does not decode as its kind."""
    return KubeError(422, "Invalid", f"The request is invalid: {detail}")
