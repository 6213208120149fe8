"""Forms of names, labels, keys and ports, and the words for what breaks them.

Shared by ``rules`` and ``validation.workloads``, which say where each form is required.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from aiopslab.world.kube.errors import Cause
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Object

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
# All end in \Z: to a dollar, a line break before the end is the end.
DNS_LABEL = re.compile(rf"^{_LABEL}\Z")
_DNS_SUBDOMAIN = re.compile(rf"^{_LABEL}(\.{_LABEL})*\Z")
_DNS_1035 = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_QUALIFIED = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_LABEL_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")
DATA_KEY = re.compile(r"^[-._a-zA-Z0-9]+\Z")
_PORT_NAME = re.compile(r"^(?=.*[a-z])[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
ENV_NAME = re.compile(r"^[-._a-zA-Z][-._a-zA-Z0-9]*\Z")

_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_DNS_1035_WORDS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_QUALIFIED_WORDS = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
DATA_KEY_WORDS = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
    "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


def wrong(path: str, value: Any, why: str) -> Cause:
    """Build ``path: Invalid value: <json>: why``."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    return Cause(path, f"Invalid value: {text}: {why}")


def check_enum(value: Any, allowed: tuple[str, ...], path: str) -> list[Cause]:
    """Hold a string, or each of a list, to a closed set."""
    values = value if isinstance(value, list) else [value]
    listed = ", ".join(f'"{a}"' for a in allowed if a)
    return [
        Cause(path, f"Unsupported value: {json.dumps(v)}: supported values: {listed}")
        for v in values
        if v not in allowed
    ]


# -- metadata -------------------------------------------------------------------------------------


def check_name(kind: Kind, name: str) -> list[Cause]:
    """Check the form of an object's name, which depends on its kind."""
    causes = []
    if kind.kind == "Service":
        form, words, limit = _DNS_1035, _DNS_1035_WORDS, 63
    elif kind.kind == "Namespace":
        form, words, limit = DNS_LABEL, LABEL_WORDS, 63
    else:
        form, words, limit = _DNS_SUBDOMAIN, _SUBDOMAIN_WORDS, 253
    if kind.group == "rbac.authorization.k8s.io":
        if name in (".", ".."):
            causes.append(wrong("metadata.name", name, f"may not be '{name}'"))
        causes += [
            wrong("metadata.name", name, f"may not contain '{mark}'")
            for mark in ("/", "%")
            if mark in name
        ]
    else:
        if len(name) > limit:
            causes.append(wrong("metadata.name", name, f"must be no more than {limit} characters"))
        elif not form.match(name):
            causes.append(wrong("metadata.name", name, words))
    return causes


def check_object_meta(metadata: Object, path: str) -> list[Cause]:
    """Check labels and annotation keys."""
    causes = check_labels(metadata.get("labels") or {}, f"{path}.labels")
    for key in metadata.get("annotations") or {}:
        causes += _qualified(key.lower(), f"{path}.annotations", key)
    return causes


def check_labels(labels: Mapping[str, str], path: str) -> list[Cause]:
    """Check label keys and values."""
    causes = []
    for key, value in labels.items():
        causes += _qualified(key, path, key)
        if len(value) > 63:
            causes.append(wrong(path, value, "must be no more than 63 characters"))
        elif not _LABEL_VALUE.match(value):
            causes.append(wrong(path, value, _LABEL_VALUE_WORDS))
    return causes


def _qualified(text: str, path: str, shown: str) -> list[Cause]:
    prefix, slash, name = text.rpartition("/")
    if slash and not _DNS_SUBDOMAIN.match(prefix):
        return [wrong(path, shown, f"prefix part {_SUBDOMAIN_WORDS}")]
    if not name or len(name) > 63 or not _QUALIFIED.match(name):
        return [wrong(path, shown, _QUALIFIED_WORDS)]
    return []


def check_port_name(name: str | None, path: str) -> list[Cause]:
    """Hold a port name to at most 15 of ``[a-z0-9-]``."""
    if not name:
        return []
    if len(name) > 15:
        return [wrong(path, name, "must be no more than 15 characters")]
    if not _PORT_NAME.match(name) or "--" in name:
        words = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
        return [wrong(path, name, words)]
    return []


def check_port(port: Any, path: str) -> list[Cause]:
    """Hold a port number to 1..65535, a port name to its form."""
    if isinstance(port, str):
        return check_port_name(port, path) if port else [wrong(path, port, "must not be empty")]
    if not 1 <= port <= 65535:
        return [wrong(path, port, "must be between 1 and 65535, inclusive")]
    return []
