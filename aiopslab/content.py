"""Where content lives and how a YAML file becomes a checked model.

Content (``problems/ agents/ services/ telemetry/``) is data that people add. A checkout finds it
at its root, an installed wheel inside the package (``aiopslab/_content``); users put folders of
the same shape on ``AIOPSLAB_CONTENT`` (separated by ``os.pathsep``), which are searched first.

Not here: what the files mean. That is known by the library package of the same name.
"""

from __future__ import annotations

import difflib
import os
import re
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from aiopslab.errors import ContentError

Room = Literal["problems", "agents", "services", "telemetry"]
M = TypeVar("M", bound=BaseModel)
_VARIABLE = "AIOPSLAB_CONTENT"


def roots() -> list[Path]:
    """Return the content roots, the user's first; each may hold any of the four rooms."""
    found = [Path(p) for p in os.environ.get(_VARIABLE, "").split(os.pathsep) if p]
    package = Path(__file__).parent
    inside, checkout = package / "_content", package.parent
    found.append(inside if inside.is_dir() else checkout)
    return found


@contextmanager
def searched_first(root: Path) -> Iterator[None]:
    """Put a content root before all others, for this process and those it starts meanwhile."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = os.pathsep.join(filter(None, [str(root), before]))
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


def files(room: Room, pattern: str) -> Iterator[Path]:
    """Yield the files of a room that match a glob, sorted; a user's file hides ours."""
    seen: set[str] = set()
    for root in roots():
        base = root / room
        for path in sorted(base.glob(pattern)):
            key = path.relative_to(base).as_posix()
            if key not in seen:
                seen.add(key)
                yield path


_NAME_LENGTH = 100


def near(name: str, names: list[str]) -> str:
    """Return a hint ``did you mean 'x'?`` for an unknown name, or an empty string."""
    # Matching takes the product of the lengths, and a name may be anything a client sends.
    close = difflib.get_close_matches(name[:_NAME_LENGTH], names, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""


def load_yaml(path: Path) -> Any:
    """Parse one YAML document.

    Raises:
        ContentError: The file cannot be read or is not YAML; names file and line.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise ContentError(str(path), f"cannot be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ContentError(f"{path}:{line}", f"not valid YAML: {error.problem}") from error


def edition(path: Path) -> tuple[int, int]:
    """Return what changes when a file does, for caches of what was read from it.

    Raises:
        OSError: The file is not there.
    """
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def load_model(path: Path, model: type[M]) -> M:
    """Read a YAML file into a model.

    Raises:
        ContentError: With file, line, the key's path, and for unknown keys the nearest known one.
    """
    data = load_yaml(path)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        keys = [k for k in first["loc"] if not (isinstance(k, str) and k.startswith("function-"))]
        line = _line_of(path, keys)
        dotted = ".".join(map(str, keys)) or "(top level)"
        hint = ""
        if first["type"] == "extra_forbidden":
            hint = near(str(keys[-1]), _siblings(model, keys))
        message = f"{dotted}: {first['msg'].removeprefix('Value error, ')}"
        if first["type"] not in ("value_error", "missing", "extra_forbidden"):
            message += f" (got {reprlib.repr(first['input'])})"
        if len(error.errors()) > 1:
            message += f" (and {len(error.errors()) - 1} more)"
        raise ContentError(f"{path}:{line}", message, hint=hint) from error


def _siblings(model: type[BaseModel], keys: list[Any]) -> list[str]:
    """List the field names that a misspelt top-level key may have meant."""
    if len(keys) == 1:
        return [f.alias or n for n, f in model.model_fields.items()]
    return []


def _line_of(path: Path, keys: list[Any]) -> int:
    """Find the line of a key path in a YAML file; the deepest part that exists."""
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    line = 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            for k, v in node.value:
                if k.value == str(key):
                    line, node = k.start_mark.line + 1, v
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            if key >= len(node.value):
                break
            node = node.value[key]
            line = node.start_mark.line + 1
    return line


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C where PyYAML was built with it: an app takes 20 ms instead of about 100."""


class _Loader(_Safe):  # type: ignore[misc]
    """SafeLoader that refuses duplicate keys and reads ``on``/``off``/``yes`` as strings."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f"duplicate key {key.value!r}", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return dict(super().construct_mapping(node, deep))


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rx) for tag, rx in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|false|False)$"), list("tTfF")
)
