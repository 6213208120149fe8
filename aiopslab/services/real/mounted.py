"""Mounted files of a process: directories on disk, seen under the paths they have in a container.

Kubernetes brings ConfigMaps and Secrets up to date in place, by switching a symbolic link; every
look reads anew. Not here: which directories a service has (``services.mounts``).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


class MountedFiles(Mapping[str, str]):
    """``protocols.Host.files``: path to text; a file that cannot be read is not there.

    Args:
        directories: Mount points, as paths in the container.
        root: What lies at ``/`` there; another directory where there is no container.
    """

    def __init__(self, directories: Sequence[str], root: Path = Path("/")) -> None:
        self._directories = tuple(directories)
        self._root = root

    def path(self, name: str) -> Path:
        """Return where a file of the container is on this machine."""
        return self._root / name.lstrip("/")

    def __getitem__(self, name: str) -> str:
        if posixpath.dirname(name) not in self._directories:
            raise KeyError(name)
        try:
            return self.path(name).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        for directory in self._directories:
            place = self.path(directory)
            if place.is_dir():
                for path in sorted(place.iterdir()):
                    # ``..data`` and the like are how the kubelet switches versions.
                    if path.is_file() and not path.name.startswith(".."):
                        yield posixpath.join(directory, path.name)

    def __len__(self) -> int:
        return sum(1 for _ in self)
