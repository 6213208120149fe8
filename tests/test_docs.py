"""The documentation says what the code does: generated parts, links, names and examples."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aiopslab.agents import as_agent
from aiopslab.agents.prices import PriceList
from aiopslab.agents.spec import AgentSpec
from aiopslab.cli.tree import build
from aiopslab.grading import SCORING_VERSION
from aiopslab.models.incident import IncidentSpec, SuiteSpec
from aiopslab.problems.draw import draw
from aiopslab.services import catalogue as apps
from aiopslab.tools import TOOLS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)
SCHEMAS = {
    "aiopslab/agent@1": AgentSpec,
    "aiopslab/prices@1": PriceList,
    "aiopslab/incident@1": IncidentSpec,
    "aiopslab/suite@1": SuiteSpec,
}


def examples(language: str) -> list[tuple[str, str]]:
    return [
        (page.name, match["text"])
        for page in PAGES
        for match in EXAMPLES.finditer(page.read_text(encoding="utf-8"))
        if match["language"] == language
    ]


def commands() -> list[tuple[str, list[str]]]:
    """Every ``aiopslab`` command line of a shell example, without comments."""
    found = []
    for page, text in examples("sh"):
        for line in text.splitlines():
            for part in line.partition(" #")[0].split("&&"):
                words = shlex.split(part)
                if words and words[0].rpartition("/")[2] == "aiopslab":
                    found.append((page, words[1:]))
    return found


def test_generated_parts_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_stale_document_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    stale = "<!-- generated: agents -->\nwas written yesterday\n<!-- end -->\n"
    fresh = generate["render"](stale)
    assert "`noop`" in fresh
    assert "was written yesterday" not in fresh
    assert generate["render"](fresh) == fresh


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text("utf-8"))
    for path, anchor in targets:
        target = (page.parent / path) if path else page
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in {h.lower().replace(" ", "-") for h in headings}, anchor


@pytest.mark.parametrize(("page", "arguments"), commands())
def test_commands_and_flags_of_examples_exist(page: str, arguments: list[str]) -> None:
    build().parse_args(arguments, exit_on_error=False, print_error=False)


def test_yaml_examples_are_valid_files() -> None:
    seen = set()
    for _, text in examples("yaml"):
        data = yaml.safe_load(text)
        SCHEMAS[data["schema"]].model_validate(data)
        seen.add(data["schema"])
    assert seen == set(SCHEMAS)


def test_the_example_incident_can_be_drawn() -> None:
    text = next(t for page, t in examples("yaml") if page == "incidents.md" and "faults:" in t)
    spec = IncidentSpec.model_validate(yaml.safe_load(text))
    assert draw(spec, apps.load_app(spec.app), 0).faults


def test_example_agents_keep_the_contract() -> None:
    made = 0
    for page, text in examples("python"):
        if not text.startswith("class "):
            continue
        names: dict[str, type] = {}
        exec(compile(text, page, "exec"), {"__name__": page}, names)
        as_agent(next(iter(names.values()))())
        made += 1
    assert made == 2


def test_the_scoring_version_that_is_described_is_the_one_that_runs() -> None:
    words = " ".join((ROOT / "docs" / "grading.md").read_text("utf-8").split())
    assert f"describes scoring version {SCORING_VERSION}." in words


def test_tools_that_prose_names_exist() -> None:
    for page in (ROOT / "docs" / "tools.md", ROOT / "docs" / "agents.md"):
        named = re.findall(
            r"`((?:k8s|logs|metrics|traces|sql|cache)_\w+)`", page.read_text("utf-8")
        )
        assert set(named) <= set(TOOLS)
