"""When a name that an agent wrote means a component."""

from __future__ import annotations

import pytest
from grading_cases import RATE
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.grading.components import is_right, is_right_place, normal, same_component

SAFE = "bcdfghjklmnpqrstvwxz2456789"


@pytest.mark.parametrize(
    "said",
    [
        "rate",
        "Rate",
        " rate ",
        "`rate`",
        "deployment/rate",
        "deploy rate",
        "svc/rate",
        "service/hotel/rate",
        "hotel/rate",
        "rate.hotel.svc.cluster.local",
        "rate.hotel.svc:8080",
        "pod/rate-7d4b9c5f6x-xk2lp",
        "rate-7d4b9c5f6x",
        "rate-0",
        "hotel-rate",
    ],
)
def test_these_names_mean_the_component(said: str) -> None:
    assert same_component(said, [RATE.component, *RATE.aliases])


@pytest.mark.parametrize(
    "said",
    [
        "",
        "rat",
        "rates",
        "rate-postgres",
        "rate-limiter",
        "rate-cache-0",
        "geo",
        "deployment/",
        "-",
    ],
)
def test_these_names_do_not(said: str) -> None:
    assert not same_component(said, [RATE.component])


def test_an_accepted_pair_needs_its_own_cause_unless_it_takes_any() -> None:
    assert is_right("rate", "memory_leak", RATE)
    assert is_right("hotel-rate", "Memory-Leak", RATE)
    assert is_right("rate-postgres", "too_many_connections", RATE)
    assert not is_right("rate-postgres", "memory_leak", RATE)
    assert is_right("node/node-a", "anything", RATE)
    assert is_right_place("rate-postgres-0", RATE)
    assert not is_right_place("geo", RATE)


@given(
    st.from_regex(r"[a-z]{2,8}(-[a-z]{2,8})?", fullmatch=True),
    st.text(SAFE, min_size=6, max_size=10),
    st.text(SAFE, min_size=5, max_size=5),
)
def test_a_pods_name_means_its_deployment(name: str, template: str, pod: str) -> None:
    assert same_component(f"{name}-{template}-{pod}", [name])
    assert same_component(f"pod/{name}-{template}-{pod}".upper(), [name])


@given(st.text())
def test_normalising_is_idempotent_and_total(said: str) -> None:
    once = normal(said)
    assert normal(once) == once or "." in once


@given(st.text(max_size=30), st.text(max_size=30))
def test_matching_is_exact_up_to_decoration(said: str, known: str) -> None:
    if same_component(said, [known]):
        assert normal(said).startswith(normal(known))
