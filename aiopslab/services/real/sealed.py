"""What the lab tells the processes of an app, sealed: nobody on the way reads it or tells it apart.

The text is always there and always as long, and equal content never looks equal. The key is made
from the program and the name of the app, so it is as secret as the defects in an image: it keeps
the content from who reads objects, environments, files and traffic, not from who takes the
program apart. Not here: how it gets there (``orders``, ``wire.board``).
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import ValidationError

from aiopslab.models.network import Links

_PURPOSE = b"ways of an app"
_NONCE = 12
_BLOCK = 8192
"""All content is filled up to this."""


class NotSealed(Exception):
    """A text is none of ours, or not of this app."""


def seal(app: str, links: Links) -> str:
    """Return the sealed text of what is not as usual."""
    data = links.model_dump_json(exclude_defaults=True).encode()
    nonce = os.urandom(_NONCE)
    filled = data.ljust(-(-max(len(data), 1) // _BLOCK) * _BLOCK)
    return b64encode(nonce + AESGCM(_key(app)).encrypt(nonce, filled, None)).decode()


def unseal(app: str, text: str) -> Links:
    """Return what a sealed text says.

    Raises:
        NotSealed: It says nothing to this app.
    """
    try:
        data = b64decode(text, validate=True)
        content = AESGCM(_key(app)).decrypt(data[:_NONCE], data[_NONCE:], None)
        return Links.model_validate_json(content)
    except (ValueError, InvalidTag, ValidationError) as error:
        raise NotSealed(str(error)) from error


def _key(app: str) -> bytes:
    return HKDF(hashes.SHA256(), 32, None, _PURPOSE).derive(app.encode())
