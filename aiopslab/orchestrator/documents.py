"""Files that survive a power cut and compare byte for byte: deterministic JSON, atomic writes.

Keys are sorted, floats are Python's shortest round-trip form, NaN is refused; halves of characters,
which agents can make, become ``?``. A document is written beside its place and renamed into it; a
journal (``.jsonl``) is only ever appended to.
Not here: which files a record consists of (``records``).
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from aiopslab.errors import UsageError

M = TypeVar("M", bound=BaseModel)


def encode(value: Any, *, indent: int | None = 2) -> str:
    """Encode a model or plain data as JSON; equal values give equal text."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", by_alias=True)
    separators = None if indent else (",", ":")
    return json.dumps(
        value,
        sort_keys=True,
        indent=indent,
        separators=separators,
        ensure_ascii=False,
        allow_nan=False,
    )


def write(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write a JSON document atomically: it is there whole, or as it was before."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.write(encode(value, indent=indent) + "\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames in a directory durable, where the platform can."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(handle: int) -> bool:
    """Lock an open file until it is closed, however its process ends; False if it is locked."""
    try:
        import fcntl  # noqa: PLC0415 - not on every platform
    except ImportError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # A file system without locks has nobody to tell.
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def append(path: Path, value: Any) -> None:
    """Append one line to a journal; what is flushed survives a killed process."""
    with path.open("a", encoding="utf-8", errors="replace", newline="\n") as file:
        file.write(encode(value, indent=None) + "\n")


def write_journal(path: Path, values: Iterable[Any]) -> None:
    """Write a whole journal atomically."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.writelines(encode(value, indent=None) + "\n" for value in values)
    beside.replace(path)


def read(path: Path, model: type[M]) -> M:
    """Read a document into its model.

    Raises:
        UsageError: It is missing, or not what it should be.
    """
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{str(path)!r} does not exist") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "(top level)"
        said = first["msg"] + (f" (got {first['input']!r})" if where == "schema" else "")
        raise UsageError(
            f"{str(path)!r} is not a valid record: {where}: {said}",
            hint="written by another version, or cut off" if where == "schema" else "",
        ) from error


def read_journal(path: Path, model: type[M]) -> list[M]:
    """Read a journal; a last line cut off by a crash is left out."""
    return list(_lines(path, model)) if path.exists() else []


def _lines(path: Path, model: type[M]) -> Iterator[M]:
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    # Not splitlines: a text may hold U+2028 and the like, which end a line there but not here.
    for number, line in enumerate(whole.split("\n")[:-1], start=1):
        try:
            yield model.model_validate_json(line)
        except ValidationError as error:
            raise UsageError(f"{path}:{number}: not a valid record line") from error
