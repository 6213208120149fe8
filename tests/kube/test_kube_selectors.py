import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.kube import KubeError
from aiopslab.world.kube import selectors

WORD = st.from_regex(r"[a-z0-9]([-a-z0-9_.]{0,6}[a-z0-9])?", fullmatch=True).filter(
    lambda word: word not in ("in", "notin")
)
LABELS = {"app": "web", "tier": "front", "empty": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app!=web", False),
        ("missing!=x", True),
        ("app in (db, web)", True),
        ("app notin (db,web)", False),
        ("missing notin (a)", True),
        ("app", True),
        ("!app", False),
        ("! missing , app", True),
        ("empty=", True),
        ("empty in (,a)", True),
    ],
)
def test_label_selectors_match_as_kubectl_does(text: str, expected: bool) -> None:
    assert selectors.matches(selectors.parse_labels(text), LABELS) is expected


@pytest.mark.parametrize("text", ["app=web,", "=a", "app in web", "app in (a", "a=b=c", "app ~ b"])
def test_a_malformed_selector_is_a_bad_request(text: str) -> None:
    with pytest.raises(KubeError) as caught:
        selectors.parse_labels(text)
    assert caught.value.code == 400


@given(st.text(alphabet="ab=!,()in \t/.-", max_size=20))
def test_the_parser_accepts_or_refuses_but_never_fails_otherwise(text: str) -> None:
    with contextlib.suppress(KubeError):
        selectors.matches(selectors.parse_labels(text), LABELS)


@given(st.dictionaries(WORD, WORD, max_size=4), st.dictionaries(WORD, WORD, max_size=4))
def test_an_equality_selector_matches_exactly_the_supersets(
    wanted: dict[str, str], labels: dict[str, str]
) -> None:
    text = ",".join(f"{k}={v}" for k, v in wanted.items())
    expected = wanted.items() <= labels.items()
    assert selectors.matches(selectors.parse_labels(text), labels) is expected
    assert selectors.matches(selectors.from_labels(wanted), labels) is expected


@given(WORD, st.lists(WORD, min_size=1, max_size=3), st.dictionaries(WORD, WORD, max_size=3))
def test_notin_is_the_negation_of_in(key: str, values: list[str], labels: dict[str, str]) -> None:
    inside = selectors.parse_labels(f"{key} in ({','.join(values)})")
    outside = selectors.parse_labels(f"{key} notin ({','.join(values)})")
    assert selectors.matches(inside, labels) is not selectors.matches(outside, labels)


def test_expressions_and_labels_of_an_object_all_have_to_hold() -> None:
    selector = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["front", "back"]},
            {"key": "old", "operator": "DoesNotExist"},
        ],
    }
    requirements = selectors.from_object(selector)
    assert selectors.matches(requirements, LABELS)
    assert not selectors.matches(requirements, {**LABELS, "old": "1"})
    assert selectors.format_selector(selector) == "app=web,tier in (back,front),!old"


def test_field_selectors_compare_fields_as_text() -> None:
    pod = {"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}}
    terms = selectors.parse_fields("spec.nodeName=n1,status.phase!=Failed", "Pod")
    assert all(term.matches(pod) for term in terms)


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(KubeError, match=r"field label not supported: spec\.image"):
        selectors.parse_fields("spec.image=x", "Pod")
