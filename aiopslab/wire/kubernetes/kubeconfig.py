"""The kubeconfig with which kubectl and client libraries find a served cluster."""

from __future__ import annotations

import base64

import yaml


def kubeconfig(server_url: str, token: str, ca_pem: str, namespace: str) -> str:
    """Return a kubeconfig, YAML.

    Args:
        server_url: ``https://127.0.0.1:<port>``.
        token: Bearer token; kubectl sends it over TLS only.
        ca_pem: Certificate of the authority that signed the server's.
        namespace: Used where a command names none.
    """
    cluster = {
        "server": server_url,
        "certificate-authority-data": base64.b64encode(ca_pem.encode()).decode(),
    }
    context = {"cluster": "cluster", "user": "user", "namespace": namespace}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "cluster", "context": context}],
        "current-context": "cluster",
        "preferences": {},
    }
    return yaml.safe_dump(content, sort_keys=False)
