"""The contexts of a kubeconfig, and which of them the lab must not touch.

The lab breaks things on purpose. A context whose name, cluster or server looks like production is
refused unless whoever runs the lab says in so many words that it is meant. Reads YAML only: no
credential is used and no server asked. Not here: connecting (``cluster.connection``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from aiopslab.content import near
from aiopslab.environments.cluster.connection import Reach
from aiopslab.errors import PreflightError, UsageError

_KIND = "kind-"
_PRODUCTION = frozenset({"prod", "production", "productive", "prd", "live"})
_NEGATED = frozenset({"non", "not", "no"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True, slots=True)
class Typed:
    """What is typed to name a context, and to use one all the same that looks like production."""

    context: str = "--context "
    allow: str = "--allow-production"


AS_FLAGS = Typed()
AS_OPTIONS = Typed("-E context=", "-E allow-production=true")
"""Those of an environment, as a run is given them."""


@dataclass(frozen=True, slots=True)
class Context:
    """One context: a cluster, as somebody, with a default namespace."""

    name: str
    cluster: str
    user: str
    namespace: str
    server: str
    """The API server's URL; empty if the kubeconfig does not say."""
    current: bool

    def production(self) -> str:
        """Return what looks like production, for a message; empty if nothing does."""
        host = urlsplit(self.server).hostname or ""
        for what, text in (("name", self.name), ("cluster", self.cluster), ("server", host)):
            word = production_word(text)
            if word:
                return f"its {what} {text!r} says {word!r}"
        return ""


def kind_context(cluster: str) -> str:
    """Return what kind calls the context of one of its clusters."""
    return f"{_KIND}{cluster}"


def kind_cluster(context: str) -> str:
    """Return the kind cluster that a context is of, by its name; empty if of another.

    Images are loaded onto kind's; others pull them.
    """
    return context.removeprefix(_KIND) if context.startswith(_KIND) else ""


def production_word(text: str) -> str:
    """Return the word of a name that stands for production; empty if there is none.

    Words end where letters do, and where capitals begin: ``prod-eu``, ``eu_prd2``, ``myProd``; not
    ``products``, ``delivery`` or ``non-prod``.
    """
    words: list[str] = [word.lower() for word in _WORD.findall(text)]
    for before, word in zip(["", *words], words, strict=False):
        if word in _PRODUCTION and before not in _NEGATED:
            return word
    return ""


def contexts(kubeconfig: str = "") -> list[Context]:
    """List the contexts of a kubeconfig by name.

    Args:
        kubeconfig: Path; empty is ``$KUBECONFIG``, then ``~/.kube/config``. Of several files the
            first that says something is right, as for kubectl.

    Raises:
        PreflightError: There is no such file, or it is none.
    """
    merged: dict[str, dict[str, Any]] = {"contexts": {}, "clusters": {}}
    current = ""
    for content in _files(kubeconfig):
        current = current or str(content.get("current-context") or "")
        for section, known in merged.items():
            for name, item in _named(content, section):
                known.setdefault(name, item)
    clusters = merged["clusters"]
    return [
        Context(
            name=name,
            cluster=str(spec.get("cluster") or ""),
            user=str(spec.get("user") or ""),
            namespace=str(spec.get("namespace") or "default"),
            server=str(clusters.get(spec.get("cluster"), {}).get("server") or ""),
            current=name == current,
        )
        for name, spec in sorted(merged["contexts"].items())
    ]


def choose(
    kubeconfig: str = "",
    name: str = "",
    *,
    allow_production: bool = False,
    typed: Typed = AS_FLAGS,
) -> Context:
    """Return the context that is meant, unless it must not be used.

    Args:
        kubeconfig: As for ``contexts``.
        name: Its name; empty is the current one.
        allow_production: Whether one that looks like production is meant.
        typed: What a hint says to type.

    Raises:
        UsageError: There is none of that name, none was chosen, or it looks like production.
        PreflightError: There is no kubeconfig.
    """
    known = contexts(kubeconfig)
    names = [context.name for context in known]
    found = next((c for c in known if (c.name == name if name else c.current)), None)
    if found is None:
        what = f"there is no context {name!r}" if name else "the kubeconfig has no current context"
        listed = f"{typed.context}{' | '.join(names)}" if names else "kubectl config get-contexts"
        raise UsageError(what, hint=(near(name, names) if name else "") or listed)
    why = found.production()
    if why and not allow_production:
        safe = [c.name for c in known if not c.production()]
        instead = f"{typed.context}{safe[0]}, or " if safe else ""
        raise UsageError(
            f"context {found.name!r} looks like production: {why}",
            hint=f"{instead}{typed.allow} if it is meant",
        )
    return found


def _named(content: dict[str, Any], section: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Iterate over what a section of a kubeconfig lists: a name, and the thing of that name."""
    for item in content.get(section) or ():
        if not isinstance(item, dict) or "name" not in item:
            raise PreflightError(f"no kubeconfig: an item of {section!r} has no name")
        thing = item.get(section[:-1])
        yield str(item["name"]), thing if isinstance(thing, dict) else {}


def _files(kubeconfig: str) -> Iterator[dict[str, Any]]:
    """Iterate over the contents of the files that exist; at least one must."""
    files = Reach(kubeconfig).files
    paths = [Path(p).expanduser() for p in files.split(":") if p]
    there = [path for path in paths if path.is_file()]
    if not there:
        raise PreflightError(
            f"there is no kubeconfig {files!r}",
            hint="export KUBECONFIG=FILE; aiopslab cluster up makes one",
        )
    for path in there:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise PreflightError(f"{path} is no kubeconfig: {error}") from error
        if not isinstance(content, dict):
            raise PreflightError(f"{path} is no kubeconfig")
        yield content
