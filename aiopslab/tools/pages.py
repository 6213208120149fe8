"""Bounding what an agent reads: long texts are cut at a line and continued by cursor.

The text of an answer is kept, so that its pages belong together although the world goes on. Not
here: row limits, which each tool has for itself.
"""

from __future__ import annotations

from collections import OrderedDict

_KEPT = 16
"""Answers whose further pages can be asked for."""
_DIGITS = 12
"""Longest offset of a cursor; Python refuses to read numbers of thousands of digits."""


class Pages:
    """The long answers of one trial.

    Args:
        limit: Characters a page holds.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._texts: OrderedDict[str, str] = OrderedDict()

    def first(self, id: str, text: str, *, again: str = "") -> tuple[str, str | None]:
        """Return the page a text begins with, and the cursor of what follows.

        Args:
            id: Id of the observation; cursors are ``id:offset``.
            text: All of it.
            again: The cursor this text itself was asked by; its numbering goes on.
        """
        if len(text) <= self._limit:
            return text, None
        cut = self._cut(text)
        source, _, offset = again.rpartition(":")
        if source:
            position = int(offset) + cut
        else:
            source, position = id, cut
            self._texts[id] = text
            while len(self._texts) > _KEPT:
                self._texts.popitem(last=False)
        left = len(text) - cut
        cursor = f"{source}:{position}"
        return f"{text[:cut]}\n... {left} more characters; cursor={cursor}", cursor

    def rest(self, cursor: str) -> str | None:
        """Return the text from a cursor on, or None where the answer is no longer kept."""
        id, _, offset = cursor.rpartition(":")
        text = self._texts.get(id)
        if text is None or not offset.isdecimal() or len(offset) > _DIGITS:
            return None
        if int(offset) >= len(text):
            return None
        return text[int(offset) :]

    def _cut(self, text: str) -> int:
        """Cut after the last complete line of the page, if it is not too far back."""
        newline = text.rfind("\n", 0, self._limit)
        return newline + 1 if newline > self._limit // 2 else self._limit
