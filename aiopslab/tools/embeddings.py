"""Rank texts by meaning: cosine similarity of embeddings from an OpenAI-compatible endpoint.

On request only: it costs money and a network, and its ranking is the endpoint's. The key comes from
the environment (``OPENAI_API_KEY``), never from a configuration. Neighbour: ``bm25``, the default.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Sequence

from aiopslab.errors import InfraError, PreflightError

TIMEOUT_S = 30.0
BATCH = 256
"""Texts a request carries at most."""
KEY = "OPENAI_API_KEY"


def preflight(base_url: str | None) -> None:
    """Refuse, before anything boots, what could not be asked.

    Raises:
        PreflightError: The SDK or the key is missing.
    """
    if importlib.util.find_spec("openai") is None:
        raise PreflightError(
            "searching by embeddings needs the package openai",
            hint="pip install 'aiopslab[react]'",
        )
    if base_url is None and not os.environ.get(KEY):
        raise PreflightError("no API key for embeddings", hint=f"export {KEY}=...")


class Embeddings:
    """An index over some texts; they are embedded at the first question.

    Args:
        texts: What can be found; scores come in this order.
        model: Name of the embedding model at the endpoint.
        base_url: The endpoint; None: the SDK's default, or what ``OPENAI_BASE_URL`` says.
    """

    def __init__(self, texts: Sequence[str], *, model: str, base_url: str | None = None) -> None:
        self._texts = list(texts)
        self._model = model
        self._base_url = base_url
        self._vectors: list[list[float]] | None = None

    def scores(self, query: str) -> list[float]:
        """Score every text between -1 and 1.

        Raises:
            InfraError: The endpoint does not answer, or not with embeddings.
        """
        if not self._texts:
            return []
        if self._vectors is None:
            self._vectors = self._embed(self._texts)
        (asked,) = self._embed([query])
        return [_cosine(asked, vector) for vector in self._vectors]

    def _embed(self, texts: list[str]) -> list[list[float]]:
        import openai  # noqa: PLC0415 - half a second, and most runs embed nothing

        # An endpoint of one's own may need no key; the SDK wants some text.
        key = os.environ.get(KEY) or "unused"
        client = openai.OpenAI(api_key=key, base_url=self._base_url, timeout=TIMEOUT_S)
        vectors: list[list[float]] = []
        with client:
            for start in range(0, len(texts), BATCH):
                part = texts[start : start + BATCH]
                try:
                    answer = client.embeddings.create(
                        model=self._model, input=part, encoding_format="float"
                    )
                except openai.OpenAIError as error:
                    said = f"embeddings of {self._model!r}: {type(error).__name__}: {error}"
                    raise InfraError("memory", said) from error
                found = sorted(answer.data, key=lambda one: one.index)
                if len(found) != len(part):
                    said = f"{len(found)} embeddings came back for {len(part)} texts"
                    raise InfraError("memory", said)
                vectors += [one.embedding for one in found]
        return vectors


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the cosine of the angle; 0 for a vector of length 0."""
    if len(a) != len(b):
        raise InfraError("memory", f"embeddings of {len(a)} and {len(b)} numbers do not compare")
    norm = math.hypot(*a) * math.hypot(*b)
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / norm if norm else 0.0
