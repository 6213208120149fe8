"""Runs that several tests look at are made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from endtoend_cli import CONTENT, run_kiosk

from aiopslab.problems import catalogue


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both kiosk incidents, all tasks, by the statistical agent, on two hosts."""
    return run_kiosk(tmp_path_factory.mktemp("whole"), "whole", "-n", "2", salt="1")


@pytest.fixture
def kiosk_content(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process find the kiosk."""
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(CONTENT))
    catalogue.incidents.cache_clear()
    catalogue.suites.cache_clear()
    yield
    catalogue.incidents.cache_clear()
    catalogue.suites.cache_clear()
