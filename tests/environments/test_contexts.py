"""Contexts: what a kubeconfig offers, and what looks too much like production."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from aiopslab.environments.contexts import choose, contexts, production_word
from aiopslab.errors import PreflightError, UsageError


def kubeconfig(path: Path, names: dict[str, str], current: str = "", **servers: str) -> str:
    """Write contexts with the clusters they are of."""
    content: dict[str, Any] = {
        "contexts": [
            {"name": n, "context": {"cluster": c, "user": "me"}} for n, c in names.items()
        ],
        "clusters": [{"name": c, "cluster": {"server": s}} for c, s in servers.items()],
        "current-context": current,
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize(
    "name",
    ["prod", "production", "prod-eu-1", "eu_prd2", "PROD", "myProd", "shop.live", "pre-prod",
     "arn:aws:eks:eu-west-1:1234:cluster/prod", "gke_acme_europe-west1_Production", "prod1"],
)  # fmt: skip
def test_names_that_look_like_production(name: str) -> None:
    assert production_word(name)


@pytest.mark.parametrize(
    "name",
    ["", "kind-dev", "products", "reproduction", "delivery", "livestream", "alive", "olive",
     "non-prod", "not_production", "nonprod", "staging", "minikube", "test-42"],
)  # fmt: skip
def test_names_that_do_not(name: str) -> None:
    assert not production_word(name)


def test_the_contexts_are_listed_with_their_servers(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "c", {"b": "one", "a": "two"}, "b", one="https://one:6443")
    found = contexts(path)
    assert [(c.name, c.server, c.current) for c in found] == [
        ("a", "", False),
        ("b", "https://one:6443", True),
    ]


def test_of_several_files_the_first_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kubeconfig(tmp_path / "1", {"a": "one"}, "a", one="https://first")
    second = kubeconfig(tmp_path / "2", {"a": "two", "b": "one"}, "b", one="https://second")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}:{tmp_path / 'nowhere'}")
    assert [(c.name, c.cluster, c.server, c.current) for c in contexts()] == [
        ("a", "one", "https://first", True),
        ("b", "one", "https://first", False),
    ]


def test_the_current_context_is_taken_where_none_is_named(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "c", {"a": "x", "kind-dev": "y"}, "kind-dev")
    assert choose(path).name == "kind-dev"
    assert choose(path, "a").name == "a"


@pytest.mark.parametrize(
    ("names", "servers", "why"),
    [
        ({"prod-eu": "x"}, {}, "its name 'prod-eu' says 'prod'"),
        ({"default": "shop-live"}, {}, "its cluster 'shop-live' says 'live'"),
        ({"default": "x"}, {"x": "https://api.prd.example.com:6443"},
         "its server 'api.prd.example.com' says 'prd'"),
    ],
)  # fmt: skip
def test_production_is_refused_unless_it_is_meant(
    tmp_path: Path, names: dict[str, str], servers: dict[str, str], why: str
) -> None:
    (name,) = names
    path = kubeconfig(tmp_path / "c", {**names, "kind-dev": "y"}, name, **servers)
    with pytest.raises(UsageError) as error:
        choose(path)
    assert error.value.message == f"context {name!r} looks like production: {why}"
    assert error.value.hint == "--context kind-dev, or --allow-production if it is meant"
    assert choose(path, allow_production=True).name == name


def test_a_name_that_is_not_there_is_answered_with_a_near_one(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "c", {"kind-dev": "x"})
    with pytest.raises(UsageError, match="'kind-dve'") as error:
        choose(path, "kind-dve")
    assert "kind-dev" in error.value.hint
    with pytest.raises(UsageError, match="no current context") as error:
        choose(path)
    assert error.value.hint == "--context kind-dev"


def test_a_kubeconfig_that_is_none_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="there is no kubeconfig"):
        contexts(str(tmp_path / "nowhere"))
    for text in ("a: [", "just words", "\x00", "contexts: [{}]"):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(PreflightError, match="no kubeconfig"):
            contexts(str(tmp_path / "bad"))
