import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.world.kube import quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", "0.1"),
        ("1.5Gi", str(1536 * 1024**2)),
        ("2e3", "2000"),
        ("1E3", "1000"),
        ("1E", str(10**18)),
        (".5", "0.5"),
        ("-2", "-2"),
        (3, "3"),
        (0.25, "0.25"),
        ("9" * 400, str(2**63 - 1)),
        ("-1e27", str(1 - 2**63)),
    ],
)
def test_suffixes_and_exponents_mean_what_the_api_says(text: str | float, value: str) -> None:
    assert quantity.parse(text) == Decimal(value)


@pytest.mark.parametrize(
    "text", ["", "64Mib", "1.2.3", "m", "1 Gi", "abc", "1e99999", "--1", "1Gi\n"]
)
def test_anything_else_is_refused_with_the_servers_words(text: str) -> None:
    with pytest.raises(quantity.QuantityError, match="quantities must match"):
        quantity.parse(text)


@given(st.integers(min_value=0, max_value=10**7))
def test_canonical_cpu_reads_back_as_the_same_millicores(milli: int) -> None:
    value = Decimal(milli) / 1000
    assert quantity.parse(quantity.format_cpu(value)) == value


@given(st.integers(min_value=0, max_value=2**50))
def test_canonical_bytes_read_back_as_the_same_number(number: int) -> None:
    assert quantity.parse(quantity.format_bytes(Decimal(number))) == number


@given(st.text(max_size=12))
def test_the_parser_returns_a_number_or_refuses(text: str) -> None:
    with contextlib.suppress(quantity.QuantityError):
        assert quantity.parse(text).is_finite()
