"""Finding and loading apps: ``services/<app>/app.yaml`` with its manifests, runbooks and docs.

Not here: the schema (``models.app``), the cross-references inside an app (``validation``).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from aiopslab import content
from aiopslab.errors import UsageError
from aiopslab.models.app import App
from aiopslab.services.validation import validate


def app_names() -> list[str]:
    """Name the apps of all content roots, sorted."""
    return sorted({path.parent.name for path in content.files("services", "*/app.yaml")})


def app_dir(name: str) -> Path:
    """Return the folder of an app.

    Raises:
        UsageError: There is no such app; the hint names near ones.
    """
    for path in content.files("services", "*/app.yaml"):
        if path.parent.name == name:
            return path.parent
    known = app_names()
    hint = content.near(name, known) or f"known apps: {', '.join(known) or 'none'}"
    raise UsageError(f"unknown app {name!r}", hint=hint)


def load_app(name: str) -> App:
    """Load and check an app.

    Raises:
        UsageError: There is no such app.
        ContentError: ``app.yaml`` is malformed, or refers to something that does not exist.
    """
    path = app_dir(name) / "app.yaml"
    return _loaded(path, content.edition(path))


@cache
def _loaded(path: Path, _edition: tuple[int, int]) -> App:
    # It takes longer than drawing all incidents of the app.
    app = content.load_model(path, App)
    validate(app, path)
    return app


def runbooks(name: str) -> dict[str, str]:
    """Return the runbooks of an app, stem to Markdown, sorted."""
    return _texts(app_dir(name) / "runbooks")


def docs(name: str) -> dict[str, str]:
    """Return the documents of an app, stem to Markdown, sorted."""
    return _texts(app_dir(name) / "docs")


def _texts(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))}
