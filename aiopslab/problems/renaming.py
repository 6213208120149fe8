"""Giving an app's parts other names, everywhere they are mentioned.

Names are drawn from the app's ``names.yaml``. Structured content is renamed by key, prose by word.
Not here: which files there are (``variant``), what else a held-out app changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiopslab.errors import ContentError
from aiopslab.models.app import App
from aiopslab.models.names import Names
from aiopslab.seeds import Streams
from aiopslab.services.config import prefix

_WORD = re.compile(r"(?<![\w-])[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*(?![\w])")
_KEY = re.compile(r"(?<![\w-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![\w-])")
_NAMED_KEYS = frozenset({"services", "stores", "jobs", "users", "externals", "owners"})
"""Mappings of ``app.yaml`` whose keys are names of components, or of teams named after them."""
_JOURNEYS = frozenset({"journeys", "slos"})
"""Mappings whose keys are journeys, which may be named after components."""
_SETTINGS = frozenset({"config", "env", "data"})
"""Mappings whose keys may begin with the name of a component, as ``GEO_TIMEOUT_MS`` does."""
_FIXED = frozenset(
    {"text", "table", "grants", "tables", "columns", "params", "language", "kind", "stream",
     "streams", "subject", "subjects"}
)  # fmt: skip
"""Keys below which a component's name is not meant."""
_FULL = frozenset({"call", "forbidden", "diff", "history", "target", "command", "args"})
"""Keys below which every word may be a component."""


class Renaming:
    """New names for an app and its components.

    Args:
        app: Old and new name of the app.
        components: Old to new names.
    """

    def __init__(self, app: tuple[str, str], components: Mapping[str, str]) -> None:
        self.app = app
        self.components = dict(components)
        self._longest = sorted(components, key=lambda n: (-len(n), n))
        self._keys = {prefix(old): prefix(new) for old, new in components.items()}

    @classmethod
    def draw(cls, app: App, names: Names, streams: Streams) -> Renaming:
        """Draw a name for every component.

        Raises:
            ContentError: ``names.yaml`` has no name for a component, or one that is in use.
        """
        used = {app.name, *app.components(), *names.components}
        stems: dict[str, str] = {}
        for stem, choices in sorted(names.components.items()):
            free = [n for n in choices if n not in used]
            if not free:
                raise ContentError(f"services/{app.name}/names.yaml", f"no free name: {stem!r}")
            stems[stem] = streams("name", stem).choice(free)
            used.add(stems[stem])
        components = {name: _following(name, stems, app.name) for name in app.components()}
        return cls((app.name, streams("app").choice(names.app)), components)

    def name(self, old: str) -> str:
        """Return the new name of a component, a node or the app; others stay."""
        return self.components.get(old, self.app[1] if old == self.app[0] else old)

    def text(self, text: str, *, words: bool = True) -> str:
        """Rename in prose.

        Args:
            text: Anything.
            words: Rename single words too; else only compounds such as ``geo-postgres``, and what
                stands in back quotes.
        """

        def renamed(match: re.Match[str]) -> str:
            word = match[0]
            meant = words or "-" in word or match.string[match.start() - 1 : match.start()] == "`"
            return self._word(word) if meant and not _in_path(match) else word

        return _KEY.sub(lambda m: self._key(m[0]), _WORD.sub(renamed, text))

    def data(self, data: Any, key: str = "") -> Any:
        """Rename in parsed content; ``key`` is what the data stands under."""
        if isinstance(data, dict):
            return {self._mapped(k, key): self.data(v, _under(key, k)) for k, v in data.items()}
        if isinstance(data, list):
            return [self.data(item, key) for item in data]
        if not isinstance(data, str) or key in _FIXED:
            return data
        return self.name(data) if self.name(data) != data else self.text(data, words=key in _FULL)

    def _mapped(self, key: Any, parent: str) -> Any:
        if not isinstance(key, str):
            return key
        if parent in _NAMED_KEYS:
            return self.name(key)
        if parent in _JOURNEYS:
            return self.text(key)
        return self._key(key) if parent in _SETTINGS else key

    def _word(self, word: str) -> str:
        if self.name(word) != word:
            return self.name(word)
        for name in self._longest:
            if word.startswith(f"{name}-"):
                return self.components[name] + word[len(name) :]
        old, new = self.app
        return f"{new}-{self._word(word[len(old) + 1 :])}" if word.startswith(f"{old}-") else word

    def _key(self, key: str) -> str:
        fitting = [p for p in self._keys if key.startswith(f"{p}_")]
        if not fitting:
            return key
        longest = max(fitting, key=len)
        return self._keys[longest] + key[len(longest) :]


def _following(name: str, stems: Mapping[str, str], app: str) -> str:
    """Rename a component by the longest stem that its name is or begins with."""
    leading = [s for s in stems if name == s or name.startswith(f"{s}-")]
    if not leading:
        raise ContentError(f"services/{app}/names.yaml", f"components has no {name!r}")
    longest = max(leading, key=len)
    return stems[longest] + name[len(longest) :]


def _under(parent: str, key: Any) -> str:
    """Return the key that decides: what is below a deciding key stays below it."""
    return parent if parent in _FIXED | _FULL else str(key)


def _in_path(match: re.Match[str]) -> bool:
    """Say whether a word is a segment of a URL path: ``/search``, but not ``Deployment/search``."""
    before = match.string[max(0, match.start() - 2) : match.start()]
    after_host_or_kind = len(before) == 2 and (before[0] == "/" or before[0].isalpha())
    return before[-1:] == "/" and not after_host_or_kind
