"""Text and trees: everything can be seen, nothing becomes markup, long texts share a room."""

from __future__ import annotations

import json
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.report.html.elements import data, element, markup, script_json
from aiopslab.report.text import common_limit, one_line, readable, shortened

ANY_TEXT = st.text(st.characters(), max_size=60) | st.sampled_from(
    [
        "</script>",
        "<!--",
        "<script>",
        "]]>",
        "&lt;",
        "\u2028",
        "\x00",
        "\ud800",
        '" onload="x',
        "\r\n",
    ]
)


class Collector(HTMLParser):
    """What a browser would make of markup: elements, and the text between them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(ANY_TEXT)
def test_readable_text_governs_nothing_and_is_whole_characters(text: str) -> None:
    shown = readable(text)
    shown.encode("utf-8")
    assert {c for c in shown if unicodedata.category(c) == "Cc"} <= {"\t", "\n"}
    assert not set(shown) & set(
        "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )
    assert readable(shown) == shown


@given(ANY_TEXT)
def test_one_line_is_one_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1


@given(ANY_TEXT, ANY_TEXT)
def test_markup_gives_back_the_text_and_no_element_that_was_not_made(text: str, title: str) -> None:
    collector = Collector()
    collector.feed(markup(element("p", text, element("b", text), title=title)))
    collector.close()
    assert [tag for tag, _ in collector.elements] == ["p", "b"]
    assert collector.elements[0][1] == [("title", readable(title))]
    assert collector.text == readable(text) * 2


@given(ANY_TEXT)
def test_data_in_a_script_element_cannot_end_it_and_says_the_same(text: str) -> None:
    node = element("p", text, title=text)
    written = script_json(data(node))
    assert "<" not in written
    assert written.isascii()
    assert json.loads(written) == ["p", {"title": readable(text)}, readable(text)]


@given(st.lists(st.integers(0, 500), max_size=20), st.integers(0, 5000))
def test_texts_fit_into_their_room_and_as_much_of_it_is_used_as_can_be(
    lengths: list[int], room: int
) -> None:
    limit = common_limit(lengths, room)
    taken = sum(min(n, limit) for n in lengths)
    assert taken <= room
    cut = [n for n in lengths if n > limit]
    assert not cut or taken + len(cut) > room


@pytest.mark.parametrize(("limit", "left_out"), [(3, 2), (5, 0), (9, 0)])
def test_what_is_cut_is_counted(limit: int, left_out: int) -> None:
    assert shortened("abcde", limit) == ("abcde"[:limit], left_out)
