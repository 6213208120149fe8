from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiopslab.models.app import App
from aiopslab.services.catalogue import load_app

CONTENT = Path(__file__).parent / "content"


@pytest.fixture(autouse=True)
def content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(CONTENT))


@pytest.fixture
def relay(content: None) -> App:
    return load_app("relay")


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """Let what was not closed say so in the test that left it."""
    yield
    gc.collect()
