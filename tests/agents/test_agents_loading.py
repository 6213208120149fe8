from __future__ import annotations

from pathlib import Path

import pytest

from aiopslab.agents import ModelSettings, Noop, UpstreamAgent, known, load
from aiopslab.errors import AgentError, ContentError, PreflightError, UsageError


def agent_folder(path: Path, code: str, **extra: str) -> Path:
    path.mkdir(parents=True)
    lines = ["schema: aiopslab/agent@1", f"name: {path.name}", "summary: Mine."]
    lines += [f"{key}: {value}" for key, value in extra.items()]
    (path / "agent.yaml").write_text("\n".join(lines), encoding="utf-8")
    (path / "agent.py").write_text(code, encoding="utf-8")
    return path


CODE = """
class Agent:
    def __init__(self, depth=3, model=None):
        self.depth, self.model = depth, model

    async def run(self, trial):
        pass
"""


def test_builtin_agents_and_those_of_the_content_are_known() -> None:
    names = [spec.name for spec in known()]
    assert names == sorted(names)
    assert {"noop", "oracle", "human", "replay", "statistical", "react"} <= set(names)
    assert isinstance(load("noop").build(), Noop)


def test_an_unknown_name_is_answered_with_a_near_one() -> None:
    with pytest.raises(UsageError, match="there is no agent 'statistcal'") as caught:
        load("statistcal")
    assert "did you mean 'statistical'" in caught.value.hint


def test_an_agent_is_loaded_from_a_folder_with_siblings_and_arguments(tmp_path: Path) -> None:
    code = "from .depths import DEFAULT\n" + CODE.replace("depth=3", "depth=DEFAULT")
    folder = agent_folder(tmp_path / "mine", code, args="{depth: {type: integer, default: 5}}")
    (folder / "depths.py").write_text("DEFAULT = 1\n", encoding="utf-8")
    loader = load(str(folder))
    assert loader.spec.summary == "Mine."
    assert loader.folder == folder
    assert loader.build().depth == 5  # type: ignore[attr-defined]
    assert loader.build({"depth": "9"}).depth == 9  # type: ignore[attr-defined]
    assert loader.build() is not loader.build()


@pytest.mark.parametrize(
    ("given", "message"),
    [({"dept": "1"}, "has no argument 'dept'"), ({"depth": "deep"}, "is no integer")],
)
def test_wrong_arguments_are_named(tmp_path: Path, given: dict[str, str], message: str) -> None:
    folder = agent_folder(tmp_path / "other", CODE, args="{depth: {type: integer, default: 5}}")
    with pytest.raises(UsageError, match=message):
        load(str(folder)).build(given)


def test_a_missing_argument_says_how_to_give_it() -> None:
    with pytest.raises(UsageError, match="needs the argument 'steps'") as caught:
        load("replay").build()
    assert caught.value.hint == "-A steps=VALUE"


def test_users_content_hides_ours_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent_folder(tmp_path / "agents" / "statistical", CODE)
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(tmp_path))
    assert load("statistical").spec.summary == "Mine."


def test_folders_of_one_name_are_not_confused(tmp_path: Path) -> None:
    first = agent_folder(tmp_path / "a" / "twin", CODE)
    second = agent_folder(tmp_path / "b" / "twin", CODE.replace("depth=3", "depth=8"))
    assert load(str(first)).build().depth == 3  # type: ignore[attr-defined]
    assert load(str(second)).build().depth == 8  # type: ignore[attr-defined]


def test_an_agent_is_loaded_from_a_file_and_from_a_module(tmp_path: Path) -> None:
    path = tmp_path / "solo.py"
    path.write_text(CODE, encoding="utf-8")
    loader = load(f"{path}:Agent")
    assert loader.spec.needs_model
    settings = ModelSettings(model="openai/tiny", base_url="http://127.0.0.1:1/v1")
    made = loader.build({"depth": "4"}, settings)
    assert made.depth == 4  # type: ignore[attr-defined]
    assert made.model.name == "tiny"  # type: ignore[attr-defined]
    assert isinstance(load("aiopslab.agents.builtins:Noop").build(), Noop)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nothing.py:Agent", "there is no file"),
        ("no_such_module:Agent", "there is no module"),
        ("aiopslab.agents.builtins:Nop", "has no class 'Nop'"),
    ],
)
def test_wrong_references_say_what_is_missing(reference: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(reference)


def test_an_object_without_run_breaks_the_contract_and_get_action_is_adapted(
    tmp_path: Path,
) -> None:
    path = tmp_path / "styles.py"
    path.write_text(
        "class Text:\n    async def get_action(self, observation):\n        return ''\n"
        "class Sync:\n    def run(self, trial):\n        pass\n",
        encoding="utf-8",
    )
    assert isinstance(load(f"{path}:Text").build(), UpstreamAgent)
    with pytest.raises(AgentError, match="neither 'async def run"):
        load(f"{path}:Sync").build()


def test_a_malformed_agent_yaml_names_file_and_key(tmp_path: Path) -> None:
    folder = agent_folder(tmp_path / "bad", CODE, sumary="x")
    with pytest.raises(ContentError, match=r"agent.yaml:4"):
        load(str(folder))


def test_a_folder_without_agent_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no agent.yaml"):
        load(str(tmp_path))


def test_a_missing_model_or_key_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("AIOPSLAB_API_KEY", raising=False)
    with pytest.raises(PreflightError, match="needs a model") as caught:
        load("react").build()
    assert "--model" in caught.value.hint
    with pytest.raises(PreflightError, match="no API key") as caught:
        load("react").build(model=ModelSettings(model="openai/gpt-5"))
    assert "export OPENAI_API_KEY" in caught.value.hint


def test_an_argument_with_no_plain_default_need_not_be_given(tmp_path: Path) -> None:
    path = tmp_path / "optional.py"
    path.write_text(CODE.replace("depth=3, model=None", "depth=None, *, model=0"), "utf-8")
    loader, settings = load(f"{path}:Agent"), ModelSettings(model="tiny")
    assert loader.build({}, settings).depth is None  # type: ignore[attr-defined]
    assert loader.build({"depth": "4"}, settings).depth == "4"  # type: ignore[attr-defined]


def test_a_module_that_lies_here_is_offered_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lying_here.py").write_text(CODE, encoding="utf-8")
    with pytest.raises(UsageError, match="there is no module 'lying_here'") as caught:
        load("lying_here:Agent")
    assert "lying_here.py:Class" in caught.value.hint


def test_a_folder_whose_code_cannot_be_imported_is_refused_beforehand(tmp_path: Path) -> None:
    folder = agent_folder(tmp_path / "torn", "import nosuch_package\n")
    with pytest.raises(UsageError, match="No module named 'nosuch_package'") as caught:
        load(str(folder)).preflight({})
    assert "agent.py:1" in caught.value.hint


@pytest.mark.parametrize("agent", ["react", "openai-tools"])
def test_a_package_that_an_agent_needs_is_missed_beforehand(
    agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    settings = ModelSettings(model="tiny", base_url="http://127.0.0.1:1/v1")
    with pytest.raises(PreflightError, match="needs") as caught:
        load(agent).preflight({}, settings)
    assert "pip install" in caught.value.hint


def test_a_record_that_is_not_there_is_missed_before_anything_boots(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load("replay").preflight({"steps": str(tmp_path / "nosuch")})


def test_the_oracle_is_made_by_a_run_alone() -> None:
    with pytest.raises(UsageError, match="is made by a run"):
        load("oracle").build()
