"""Feature flags as a process sees them: files below ``/etc/flags``, read again every few seconds.

A flag that changes is logged once, as flag clients do. Where the file is missing or holds neither
``true`` nor ``false``, the last known value stays, at first the default. Not here: how the files
get there (the ConfigMap ``<app>-flags`` and the kubelet), what a flag decides (``steps``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiopslab.models.flag import Flag
from aiopslab.models.service import Bug
from aiopslab.services.config import Config
from aiopslab.services.journal import Journal
from aiopslab.services.protocols import Host

DIRECTORY = "/etc/flags"
_LEAST_S = 0.001
"""Between two looks at the files; a timer of less than that would never let go of the core."""


def map_name(app: str) -> str:
    """Name the ConfigMap that holds the flags of an app.

    >>> map_name("hotel")
    'hotel-flags'
    """
    return f"{app}-flags"


class Flags:
    """The flags of one process.

    Args:
        flags: Those the service reads.
        host: Its ``files`` hold the values.
        journal: Told of changes.
        wake: Receives the defects of the flags that are on, whenever that changed.
    """

    def __init__(
        self,
        flags: Mapping[str, Flag],
        host: Host,
        journal: Journal,
        wake: Callable[[list[Bug]], None],
    ) -> None:
        self._flags = flags
        self._host = host
        self._journal = journal
        self._wake = wake
        self._values = {name: flag.default for name, flag in flags.items()}
        self._read()
        self._apply()

    def on(self, name: str) -> bool:
        """Say whether a flag is on."""
        return self._values[name]

    def follow(self, config: Config) -> None:
        """Begin to read again every ``FLAGS_REFRESH_MS``, if not 0; raises ConfigError."""
        every_s = config.seconds("FLAGS_REFRESH_MS", 5000)
        if self._flags and every_s:
            self._host.spawn(self._follow(max(every_s, _LEAST_S)))

    async def _follow(self, every_s: float) -> None:
        while True:
            await self._host.clock.sleep(every_s)
            for name in self._read():
                fields = {"flag": name, "value": str(self._values[name]).lower()}
                self._journal.write("INFO", "feature flag changed", fields)
                self._apply()

    def _read(self) -> list[str]:
        """Take the values of the files; return the flags that changed."""
        files, changed = self._host.files, []
        for name, known in self._values.items():
            text = files.get(f"{DIRECTORY}/{name}", "").strip().lower()
            value = text == "true" if text in ("true", "false") else known
            if value != known:
                self._values[name] = value
                changed.append(name)
        return changed

    def _apply(self) -> None:
        self._wake([f.bug for n, f in self._flags.items() if f.bug is not None and self._values[n]])
