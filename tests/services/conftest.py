from __future__ import annotations

import pytest
from services_shop import make_app

from aiopslab.models.app import App


@pytest.fixture
def app() -> App:
    return make_app()
