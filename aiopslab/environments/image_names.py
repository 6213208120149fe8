"""Image references in the one form that can be compared.

People write ``postgres:17.5``, a node lists ``docker.io/library/postgres:17.5``, and an engine
either. Not here: which images an app needs (``image_builds``).
"""

from __future__ import annotations

from collections.abc import Iterable

_HUB = "docker.io"
_HUBS = frozenset({_HUB, "index.docker.io", "registry-1.docker.io"})


def whole(ref: str) -> str:
    """Return a reference with its registry, and its digest, or else its tag.

    >>> whole("postgres:17.5")
    'docker.io/library/postgres:17.5'
    >>> whole("valkey/valkey")
    'docker.io/valkey/valkey:latest'
    >>> whole("localhost:5000/lab/nats:2@sha256:12ab")
    'localhost:5000/lab/nats@sha256:12ab'
    """
    path, tag, digest = _parts(ref)
    registry, slash, rest = path.partition("/")
    if not slash or not (set(".:") & set(registry) or registry == "localhost"):
        registry, rest = _HUB, path
    if registry in _HUBS:
        registry, rest = _HUB, rest if "/" in rest else f"library/{rest}"
    return f"{registry}/{rest}@{digest}" if digest else f"{registry}/{rest}:{tag or 'latest'}"


def without_tag(ref: str) -> str:
    """Return a reference with a digest without its tag, any other as it is.

    >>> without_tag("postgres:17.5@sha256:12ab")
    'postgres@sha256:12ab'
    >>> without_tag("localhost:5000/nats:2")
    'localhost:5000/nats:2'
    """
    path, _, digest = _parts(ref)
    return f"{path}@{digest}" if digest else ref


def lacking(refs: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return those references that none of the names stands for, in order."""
    known = {whole(name) for name in names}
    return [ref for ref in refs if whole(ref) not in known]


def _parts(ref: str) -> tuple[str, str, str]:
    """Split a reference into path, tag and digest; what is not there is empty."""
    name, _, digest = ref.partition("@")
    path, colon, tag = name.rpartition(":")
    # What stands behind the last colon may be a port, and the path goes on.
    return (path, tag, digest) if colon and "/" not in tag else (name, "", digest)
