"""A kind cluster of ours: made, asked for, taken down, and given images.

Runs the ``kind`` program, argv only; what it says is the reason where it fails. Not here: whether
the host is fit for it (``host_checks``), which images an app needs (``image_builds``), what we make
inside a cluster (``cluster``).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence

from aiopslab.errors import PreflightError

NODE_IMAGE = (
    "kindest/node:v1.34.0@sha256:7416a61b42b1662ca6ca89f02028ac133a309a2a30ba309614e8ec94d976dc5a"
)
"""Built for kind 0.30; later ones run it too."""
_WAIT = "180s"
_ASK_S, _MAKE_S = 30.0, 900.0


def config(name: str, node_image: str = NODE_IMAGE) -> dict[str, object]:
    """Return the configuration of a cluster: one node, which is all that an app needs."""
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": name,
        "nodes": [{"role": "control-plane", "image": node_image}],
    }


def names() -> list[str]:
    """Return the names of the kind clusters of this host.

    Raises:
        PreflightError: kind is not there, or fails.
    """
    # With none it says so on standard error.
    return sorted(_kind("get", "clusters").split())


def create(name: str, node_image: str = NODE_IMAGE, *, kubeconfig: str = "") -> None:
    """Make a cluster; its context is ``kind-<name>``.

    Args:
        name: Of the cluster.
        node_image: What its node runs: Kubernetes of some version.
        kubeconfig: Where the context is written; empty is kind's choice.

    Raises:
        PreflightError: kind is not there, or fails.
    """
    where = ("--kubeconfig", kubeconfig) if kubeconfig else ()
    # JSON is YAML.
    text = json.dumps(config(name, node_image))
    _kind("create", "cluster", "--config", "-", "--wait", _WAIT, *where, stdin=text)


def delete(name: str, *, kubeconfig: str = "") -> None:
    """Take a cluster down with everything on it; one that is not there is no error.

    Raises:
        PreflightError: kind is not there, or fails.
    """
    where = ("--kubeconfig", kubeconfig) if kubeconfig else ()
    _kind("delete", "cluster", "--name", name, *where)


def load(name: str, images: Sequence[str]) -> None:
    """Put images of the host's container engine onto a cluster.

    Raises:
        PreflightError: kind is not there, or an image is not.
    """
    _kind("load", "docker-image", "--name", name, *images)


def _kind(*arguments: str, stdin: str = "") -> str:
    program = shutil.which("kind")
    if program is None:
        raise PreflightError("kind is not installed", hint="aiopslab doctor says how to get it")
    patience = _ASK_S if arguments[0] == "get" else _MAKE_S
    command = f"kind {' '.join(arguments[:2])}"
    try:
        done = subprocess.run(
            [program, *arguments], input=stdin, capture_output=True, text=True, timeout=patience,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PreflightError(f"{command}: {error}", hint="aiopslab doctor") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise PreflightError(
            f"{command}: {said[-1] if said else f'exit code {done.returncode}'}",
            hint=f"kind {' '.join(arguments)}",
        )
    return done.stdout
