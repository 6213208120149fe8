"""The three patch types behind one function, with the API server's errors.

The algorithms are in ``jsonpatch``, ``mergepatch`` and ``strategic``, which know nothing of the
API.
"""

from __future__ import annotations

import json
from typing import Any

from aiopslab.models.kube import KubeError, PatchType
from aiopslab.world.kube.errors import bad_request, invalid_patch
from aiopslab.world.kube.objects import Object
from aiopslab.world.kube.patches import jsonpatch, mergepatch, strategic
from aiopslab.world.kube.schema import message


def apply(schema: str, current: Object, patch: Any, type_: PatchType) -> Any:
    """Return the patched object; ``current`` is not changed.

    Args:
        schema: Name of the message in the schema, for strategic patches.
        current: The stored object.
        patch: A dict, or a list of operations for ``json``.
        type_: Which algorithm.

    Raises:
        KubeError: The patch is malformed or does not apply.
    """
    if type_ == "json":
        try:
            return jsonpatch.apply(current, patch)
        except RecursionError as error:  # operations built what none of them is
            raise bad_request("json: exceeded max depth") from error
        except jsonpatch.JsonPatchTooLargeError as error:
            words = f"Request entity too large: {error}"
            raise KubeError(413, "RequestEntityTooLarge", words) from error
        except jsonpatch.JsonPatchError as error:
            if not isinstance(patch, list):
                raise bad_request(f"error decoding patch: {error}") from error
            words = "the server rejected our request due to an error in our request"
            raise invalid_patch(f"{words}: {error}") from error
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: the patch is not an object")
    if type_ == "merge":
        return mergepatch.apply(current, patch)
    try:
        return strategic.apply(current, patch, message(schema))
    except strategic.StrategicPatchError as error:
        raise KubeError(500, "InternalError", str(error)) from error


def quote(patch: Any) -> str:
    """Print a patch inside an error message: JSON, as a quoted string, cut if long."""
    text = json.dumps(patch, separators=(",", ":"))
    return json.dumps(text if len(text) <= 300 else text[:300] + "...")
