"""The page on the wire APIs: every endpoint it lists is served, every prefix is mounted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from wire_clients import Wire

from aiopslab.wire.monitoring import alertmanager, loki, tempo
from aiopslab.wire.monitoring.prometheus_status import VERSION

PAGE = (Path(__file__).parents[2] / "docs" / "wire-apis.md").read_text(encoding="utf-8")
SECTIONS = ("Prometheus", "Alertmanager", "Loki", "Jaeger", "Tempo")


def endpoints() -> list[str]:
    found = []
    for section in SECTIONS:
        text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        paths = re.findall(r"^\| `(/[^`]*)` \|", text, re.MULTILINE)
        assert len(paths) > 5, section
        found += [f"/{section.lower()}{path}" for path in paths]
    return found


@pytest.mark.parametrize("path", endpoints())
def test_every_listed_endpoint_is_served(wire: Wire, path: str) -> None:
    answer = wire.get(path.replace("{id}", "f" * 32))
    unknown_trace = "{id}" in path
    assert answer.status_code in ((404,) if unknown_trace else (200, 400))
    if unknown_trace:
        assert "race" in answer.text, "the trace is unknown, not the path"


def test_the_versions_are_those_that_are_served() -> None:
    versions = {
        "Prometheus": VERSION, "Alertmanager": alertmanager.VERSION, "Loki": loki.VERSION,
        "Tempo": tempo.VERSION,
    }  # fmt: skip
    for name, version in versions.items():
        assert f"{name} {version.rpartition('.')[0]}" in PAGE
