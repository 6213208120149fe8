"""Searching past incidents: ranking by BM25, ties, filters, and what a malformed file says."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab import content
from aiopslab.errors import ContentError
from aiopslab.models.past_incident import PastIncident
from aiopslab.tools.bm25 import Bm25, words
from aiopslab.tools.memory import IncidentMemory

WORD = st.sampled_from(["rate", "frontend", "oom", "latency", "slow", "deploy", "pod", "queue"])
TEXT = st.lists(WORD, min_size=0, max_size=12).map(" ".join)


def past(id: str, title: str = "Something broke", *, app: str = "hotel") -> PastIncident:
    return PastIncident(
        id=id, app=app, date="2026-01-17", title=title, summary="", symptoms=(), services=(),
        component="rate", cause="memory_leak", resolution="",
    )  # fmt: skip


def ids(memory: IncidentMemory, query: str, *, app: str | None = None, limit: int = 5) -> list[str]:
    return [match.record.id for match in memory.search(query, app=app, limit=limit)]


def test_a_word_that_few_records_have_counts_for_more_than_a_common_one() -> None:
    memory = IncidentMemory(
        [past("INC-1", "latency on frontend"), past("INC-2", "latency on search"),
         past("INC-3", "throttled search")]
    )  # fmt: skip
    assert ids(memory, "latency throttled")[0] == "INC-3"


def test_the_score_is_the_formula_of_the_literature() -> None:
    index = Bm25(["a b", "a a c c"])
    idf = math.log(1 + (2 - 2 + 0.5) / (2 + 0.5))
    norms = [1.2 * (0.25 + 0.75 * n / 3) for n in (2, 4)]
    want = [idf * tf * 2.2 / (tf + norm) for tf, norm in zip((1, 2), norms, strict=True)]
    assert index.scores("a") == pytest.approx(want)


def test_the_name_of_an_alert_is_found_by_its_parts_and_its_parts_by_the_name() -> None:
    assert words("PodRestartingOften") == ["podrestartingoften", "pod", "restarting", "often"]
    assert words("search-hotels p95") == ["search", "hotels", "p95", "p", "95"]


def test_equal_scores_come_in_the_order_of_ids() -> None:
    memory = IncidentMemory([past("INC-9"), past("INC-2"), past("INC-5")])
    assert ids(memory, "broke") == ["INC-2", "INC-5", "INC-9"]


def test_a_record_that_shares_no_word_is_not_found() -> None:
    assert ids(IncidentMemory([past("INC-1")]), "certificate") == []
    assert ids(IncidentMemory([past("INC-1")]), "") == []
    assert ids(IncidentMemory([]), "anything") == []


def test_only_records_of_the_app_that_is_named_are_found() -> None:
    memory = IncidentMemory([past("INC-1", app="shop"), past("INC-2")])
    assert ids(memory, "broke", app="hotel") == ["INC-2"]
    assert ids(memory, "broke", app="other") == []
    assert ids(memory, "broke", limit=1) == ["INC-1"]


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=6), query=TEXT)
def test_a_score_is_positive_exactly_where_a_word_is_shared(texts: list[str], query: str) -> None:
    asked = set(query.split())
    for text, score in zip(texts, Bm25(texts).scores(query), strict=True):
        assert (score > 0.0) == bool(asked & set(text.split()))


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=6), query=st.lists(WORD, max_size=6), more=WORD)
def test_neither_the_order_of_the_query_nor_the_order_of_the_texts_moves_a_score(
    texts: list[str], query: list[str], more: str
) -> None:
    scores = Bm25(texts).scores(" ".join(query))
    assert Bm25(texts).scores(" ".join(reversed(query))) == scores
    assert Bm25(texts[::-1]).scores(" ".join(query))[::-1] == pytest.approx(scores)
    longer = Bm25(texts).scores(" ".join([*query, more]))
    assert all(b >= a - 1e-12 for a, b in zip(scores, longer, strict=True))


def test_a_user_can_bring_a_memory_and_a_malformed_line_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "problems" / "memory"
    folder.mkdir(parents=True)
    path = folder / "mine.jsonl"
    path.write_text(past("INC-7", app="mine").model_dump_json(by_alias=True) + "\n", "utf-8")
    with content.searched_first(tmp_path):
        assert ids(IncidentMemory.load("mine"), "broke") == ["INC-7"]
        path.write_text(path.read_text("utf-8") * 2, "utf-8")
        with pytest.raises(ContentError, match=r"mine\.jsonl:2: id 'INC-7' is there twice"):
            IncidentMemory.load("mine")
        path.write_text("{}\n", "utf-8")
        with pytest.raises(ContentError, match=r"mine\.jsonl:1"):
            IncidentMemory.load("mine")
