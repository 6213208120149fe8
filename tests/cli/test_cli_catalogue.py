"""``list``, ``show``, ``doctor`` and ``--help``: what there is, in text and as documents."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import yaml

HEAVY = ("pandas", "duckdb", "langchain", "openai", "kubernetes", "docker", "scipy")
LISTS = ("problems", "suites", "agents", "apps", "causes", "runs")


@pytest.mark.parametrize("what", LISTS)
def test_every_list_is_a_document_with_the_columns_of_its_table(aiopslab, what):
    document = aiopslab("list", what, "--json").document
    assert document["schema"] == f"aiopslab/{what}@1"
    heading = aiopslab("list", what).out.splitlines()[0].split()
    if document["data"]:
        assert set(heading) == set(document["data"][0])


def test_incidents_are_listed_with_their_counts(aiopslab):
    document = aiopslab("list", "incidents", "--json").document
    assert document["schema"] == "aiopslab/incidents@2"
    listed, counts = document["data"]["incidents"], document["data"]["counts"]
    assert counts["incidents"] == len(listed) == sum(counts["apps"].values())
    assert sum(counts["hops"].values()) == len(listed)
    said = aiopslab("list", "incidents").out
    assert f"incidents: {len(listed)}" in said.splitlines()


def test_the_incidents_of_a_suite_can_be_listed_alone(aiopslab):
    document = aiopslab("list", "incidents", "--suite", "quickstart", "--json").document
    assert document["data"]["counts"]["incidents"] == 3


def test_a_suite_that_does_not_exist_or_does_not_matter_is_refused(aiopslab):
    mistaken = aiopslab("list", "incidents", "--suite", "quikstart")
    assert mistaken.code == 2
    assert "quickstart" in mistaken.err
    assert aiopslab("list", "apps", "--suite", "quickstart").code == 2


def test_tables_are_aligned_plain_text_off_a_terminal(aiopslab):
    lines = aiopslab("list", "suites").out.splitlines()
    at = lines[0].index("title")
    assert all(line[at - 1] == " " and line[at] != " " for line in lines)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("release-errors", "incident"),
        ("release-errors-diagnosis", "incident"),
        ("core", "suite"),
        ("hotel", "app"),
        ("statistical", "agent"),
    ],
)
def test_things_are_shown_as_yaml_and_as_documents(aiopslab, name, kind):
    shown = yaml.safe_load(aiopslab("show", name).out)
    assert "schema_" not in shown
    document = aiopslab("show", name, "--json").document
    assert document["schema"] == f"aiopslab/{kind}@1"
    assert document["data"]["name"] == shown["name"]


def test_the_manifests_of_an_app_are_kubernetes_objects(aiopslab):
    objects = list(yaml.safe_load_all(aiopslab("show", "hotel", "--manifests").out))
    assert {"Deployment", "Service", "StatefulSet"} <= {o["kind"] for o in objects}


def test_the_doctor_finds_what_the_quickstart_needs(aiopslab):
    ended = aiopslab("doctor", "--json")
    assert ended.code == 0
    needed = [f for f in ended.document["data"] if f["needed_for"] == "everything"]
    assert needed
    assert all(f["ok"] for f in needed)


def test_the_doctor_says_what_to_type(aiopslab):
    assert "export OPENAI_API_KEY=" in aiopslab("doctor").out


def test_a_cluster_that_is_named_must_be_there(aiopslab, tmp_path):
    found = aiopslab("doctor", "--kubeconfig", str(tmp_path / "nowhere"), "--json")
    assert found.code == 3
    (context,) = [f for f in found.document["data"] if f["needed_for"] == "-e kubeconfig"]
    assert "there is no kubeconfig" in context["detail"]


def test_missing_content_is_found_by_the_doctor(aiopslab, monkeypatch):
    from aiopslab.problems import catalogue

    monkeypatch.setattr(catalogue, "incidents", dict)
    ended = aiopslab("doctor")
    assert ended.code == 3
    assert "missing" in ended.out


def test_every_command_explains_itself_with_examples(aiopslab):
    for command in ("run", "resume", "regrade", "list", "show", "play", "check", "doctor"):
        ended = aiopslab(command, "--help")
        assert ended.code == 0
        assert f"$ aiopslab {command}" in ended.out


@pytest.mark.parametrize(
    "code",
    [
        "import aiopslab",
        "from aiopslab.cli import main; main(['--help'])",
        "from aiopslab.cli import main; main(['run', '--help'])",
        "from aiopslab.cli import main; main(['list', 'suites'])",
        "from aiopslab.cli import main; main(['run', 'quickstart', '--dry-run'])",
    ],
)
def test_starting_imports_nothing_heavy(code, tmp_path):
    """In a fresh interpreter, since this one has everything."""
    listing = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    done = subprocess.run(
        [sys.executable, "-c", f"{listing}; {code}"],
        cwd=tmp_path, capture_output=True, text=True, check=True, env=dict(os.environ),
    )  # fmt: skip
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "aiopslab" in loaded
    assert not {name for name in loaded if name.startswith(HEAVY)}


def test_a_report_loads_no_world(tmp_path):
    """In a fresh interpreter; it takes a second of every report otherwise."""
    code = "import sys, aiopslab.report.entries, aiopslab.report.markdown; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env=dict(os.environ),
    )  # fmt: skip
    loaded = done.stdout.split()
    assert "aiopslab.report.entries" in loaded
    assert not {name for name in loaded if name.startswith("aiopslab.world")}


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    done = subprocess.run(
        f"{sys.executable} -m aiopslab list problems | head -1",
        shell=True, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("problem")
    assert done.stderr == ""
