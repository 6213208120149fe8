"""The page ``kubectl describe`` writes: indented fields, aligned block by block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiopslab.world.kube.objects import Object
from aiopslab.world.kube.table.cells import NONE
from aiopslab.world.kube.table.table import layout


class Page:
    """Collects rows and lays them out; consecutive fields share the column of their values."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._block: list[tuple[str, str]] = []

    def field(self, level: int, key: str, value: Any) -> None:
        """Add ``key:  value`` at an indentation level of two spaces each."""
        self._block.append((f"{'  ' * level}{key}:", str(value)))

    def more(self, value: Any) -> None:
        """Add a further line to the value of the last field."""
        self._block.append(("", str(value)))

    def line(self, level: int, text: str) -> None:
        """Add a line of its own; it ends the block of fields."""
        self._end_block()
        self._lines.append(f"{'  ' * level}{text}")

    def values(self, level: int, key: str, items: Iterable[Any]) -> None:
        """Add a field with one value a line; ``<none>`` if there is none."""
        texts = [str(item) for item in items]
        self.field(level, key, texts[0] if texts else NONE)
        for text in texts[1:]:
            self.more(text)

    def mapping(self, level: int, key: str, values: Mapping[str, str] | None) -> None:
        """Add labels or a selector, one ``k=v`` a line."""
        self.values(level, key, (f"{k}={v}" for k, v in sorted((values or {}).items())))

    def annotations(self, level: int, values: Mapping[str, str] | None) -> None:
        """Add annotations, one ``k: v`` a line."""
        self.values(level, "Annotations", (f"{k}: {v}" for k, v in sorted((values or {}).items())))

    def table(self, level: int, rows: Sequence[Sequence[str]]) -> None:
        """Add an aligned table with a ruled head."""
        head = rows[0]
        ruled = [head, ["-" * len(cell) for cell in head], *rows[1:]]
        for text in layout(ruled, gap=2).split("\n"):
            self.line(level, text)

    def _end_block(self) -> None:
        width = max((len(key) for key, _ in self._block), default=0) + 2
        self._lines += [f"{key.ljust(width)}{value}".rstrip() for key, value in self._block]
        self._block.clear()

    def text(self) -> str:
        """Return the page, without a final line break."""
        self._end_block()
        return "\n".join(self._lines)


def head(page: Page, obj: Object, *, namespaced: bool = True) -> None:
    """Write name, namespace, labels and annotations."""
    metadata = obj["metadata"]
    page.field(0, "Name", metadata["name"])
    if namespaced:
        page.field(0, "Namespace", metadata["namespace"])
    page.mapping(0, "Labels", metadata.get("labels"))
    page.annotations(0, metadata.get("annotations"))
