"""Samples for both sides of the differential test: a sample table, and the same as remote write.

Rounds are 15 s apart and lie a quarter of a second off whole seconds, so that no window of whole
seconds begins or ends on a sample: there Prometheus 2 and 3 differ, and those cases are pinned one
by one in ``promql_known``. A series that misses a round is stale at once, in Prometheus by its
marker.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterable, Iterator

from aiopslab.telemetry.samples import NOT_A_NUMBER, SampleTable

START = 1_700_000_010.0
"""A multiple of 30 s."""
FIRST = START + 4.25
ROUND_S = 15.0
ROUNDS = 160
Samples = dict[tuple[tuple[str, str], ...], list[float | None]]
"""By sorted label pairs, the name included; None is no sample."""
_STALE = struct.pack("<Q", 0x7FF0000000000002)
_NAN = struct.pack("<Q", 0x7FF8000000000001)


def time_of(number: int) -> float:
    """Return the instant of a round."""
    return FIRST + ROUND_S * number


def samples() -> Samples:
    """Return all series."""
    made: Samples = {}
    rng = random.Random(20_231_114)
    for name, labels, values in (*_requests(rng), *_durations(rng), *_gauges(rng), *_edges(rng)):
        made[tuple(sorted({"__name__": name, **labels}.items()))] = values
    return made


Row = tuple[str, dict[str, str], list[float | None]]


def _counter(rng: random.Random, pace: float, base: float = 0.0) -> list[float | None]:
    value, values = base, []
    for _ in range(ROUNDS):
        value += rng.randint(0, round(2 * pace))
        values.append(value)
    return [*values]


def _requests(rng: random.Random) -> Iterator[Row]:
    """Counters: one pod restarts, one goes, one comes."""
    for s, service in enumerate(("cart", "search", "user")):
        for p in range(2):
            pod = f"{service}-{p}"
            for code, pace in (("200", 40 + 9 * s), ("404", 3), ("500", 1 + s)):
                values = _counter(rng, pace, base=1000.0)
                if pod == "search-1":
                    values = [v if i < 70 else (v or 0) - (values[69] or 0)
                              for i, v in enumerate(values)]  # fmt: skip
                if pod == "user-1":
                    values[100:] = [None] * (ROUNDS - 100)
                labels = {"service": service, "pod": pod, "code": code, "job": "app"}
                yield "http_requests_total", labels, values
    for code, pace in (("200", 50), ("404", 3), ("500", 2)):
        values = _counter(rng, pace, base=5000.0)
        values[:102] = [None] * 102
        labels = {"service": "user", "pod": "user-2", "code": code, "job": "app"}
        yield "http_requests_total", labels, values


def _durations(rng: random.Random) -> Iterator[Row]:
    """Classic histograms, one of them with a bucket below zero and one that never counts."""
    bounds = {"cart": ("0.05", "0.1", "0.25", "1", "2.5"), "search": ("0.1", "0.5", "1", "5"),
              "idle": ("0.1", "1"), "balance": ("-10", "0", "10", "50")}  # fmt: skip
    for service, edges in bounds.items():
        # Far from zero: see "extrapolation to the zero of a counter" in ``promql_known``.
        counts = [0.0 if service == "idle" else 300.0] * (len(edges) + 1)
        rows: list[list[float | None]] = [[] for _ in counts]
        sums: list[float | None] = []
        total = sum(counts)
        for _ in range(ROUNDS):
            for i in range(len(counts)):
                new = 0 if service == "idle" else rng.randint(0, 12 - 2 * i)
                counts[i] += new
                total += new * (i + 0.5) / 4
                rows[i].append(math.fsum(counts[: i + 1]))
            sums.append(total)
        for edge, values in zip((*edges, "+Inf"), rows, strict=True):
            yield "duration_seconds_bucket", {"service": service, "le": edge}, values
        yield "duration_seconds_count", {"service": service}, rows[-1]
        yield "duration_seconds_sum", {"service": service}, sums


def _gauges(rng: random.Random) -> Iterator[Row]:
    for service in ("cart", "search", "user"):
        for p in range(2):
            level, values = rng.uniform(5e7, 2e8), []
            for _ in range(ROUNDS):
                level += rng.uniform(-1e6, 1.4e6)
                values.append(level)
            yield "memory_bytes", {"service": service, "pod": f"{service}-{p}"}, [*values]
        yield "limit_bytes", {"service": service, "tier": service[0] * 2}, [2.5e8] * ROUNDS
    for i, zone in enumerate(("north", "south", "east")):
        values = [20 * math.sin((t + 9 * i) / 11) + rng.uniform(-1, 1) - i for t in range(ROUNDS)]
        yield "temperature", {"zone": zone}, [*values]
    for queue in ("a1", "a2", "a10"):
        yield "queue_depth", {"queue": queue}, [float(rng.randint(0, 6)) for _ in range(ROUNDS)]
    for p, node in (("cart-0", "n1"), ("cart-1", "n2"), ("search-0", "n1"), ("search-1", "n3")):
        yield "pod_info", {"pod": p, "node": node, "version": "v1"}, [1.0] * ROUNDS
    # A pod gets a new version on another node: the old series ends, the new one begins.
    yield "pod_info", {"pod": "user-0", "node": "n1", "version": "v1"}, [1.0] * 80 + [None] * 80
    yield "pod_info", {"pod": "user-0", "node": "n2", "version": "v2"}, [None] * 80 + [1.0] * 80
    yield "started_seconds", {"pod": "cart-0"}, [1_709_210_096.5] * ROUNDS
    yield "started_seconds", {"pod": "cart-1"}, [-86_399.0] * ROUNDS
    for i in range(3):
        up = [float((t // 7 + i) % 5 != 0) for t in range(ROUNDS)]
        yield "up", {"job": "app", "instance": f"10.0.0.{i}:80"}, [*up]


def _edges(rng: random.Random) -> Iterator[Row]:
    """Gaps of all lengths, infinities, NaN, constants, tiny and huge numbers."""
    gaps = [None if t % 9 in (3, 4) or 60 < t < 85 else rng.uniform(-5, 5) for t in range(ROUNDS)]
    yield "flaky", {"n": "gaps"}, gaps
    yield "flaky", {"n": "rare"}, [float(t) if t % 13 == 0 else None for t in range(ROUNDS)]
    yield "odd", {"n": "nan"}, [math.nan if t % 5 == 2 else float(t % 8) for t in range(ROUNDS)]
    yield "odd", {"n": "inf"}, [math.inf if t % 31 == 9 else float(-t) for t in range(ROUNDS)]
    yield "odd", {"n": "none"}, [math.nan] * ROUNDS
    yield "constant", {"n": "zero"}, [0.0] * ROUNDS
    yield "constant", {"n": "third"}, [1 / 3] * ROUNDS
    yield "scale", {"n": "tiny"}, [1e-12 * (t + 1) for t in range(ROUNDS)]
    yield "scale", {"n": "huge"}, [1e15 + 3.5e9 * t for t in range(ROUNDS)]
    sparse = _counter(rng, 4, base=900.0)
    yield "sparse_total", {}, [v if t % 7 not in (2, 3) else None for t, v in enumerate(sparse)]
    # Begins where most windows have begun already, close to the time at which it was zero.
    steep = [None if t < 50 else 15.0 + 20.0 * (t - 50) for t in range(ROUNDS)]
    yield "steep_total", {}, [*steep]
    for le, value in (("1", 1e13), ("2", 1e13 + 5), ("+Inf", 1e13 + 5)):
        yield "rounding_bucket", {"le": le}, [value] * ROUNDS
    for text in ("line one\nline two", "plain", "a.b", "ünïcödé"):
        yield "text_info", {"text": text}, [1.0] * ROUNDS


def table(made: Samples) -> SampleTable:
    """Load samples into a table."""
    loaded = SampleTable()
    columns = {}
    for labels in made:
        pairs = dict(labels)
        columns[labels] = loaded.column(pairs.pop("__name__"), tuple(sorted(pairs.items())))
    for number in range(ROUNDS):
        row = loaded.row(time_of(number))
        for labels, values in made.items():
            value = values[number]
            if value is not None:
                row[columns[labels]] = NOT_A_NUMBER if math.isnan(value) else value
    return loaded


# -- remote write: protobuf in snappy, both by hand -----------------------------------------------


def remote_write(made: Samples) -> bytes:
    """Encode samples and staleness markers as the body of one remote-write request."""
    message = b"".join(_field(1, _time_series(labels, v)) for labels, v in made.items())
    return _snappy(message)


def _time_series(labels: Iterable[tuple[str, str]], values: list[float | None]) -> bytes:
    parts = [
        _field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels
    ]
    for number, value in enumerate(values):
        if value is None and (number == 0 or values[number - 1] is None):
            continue
        bits = _STALE if value is None else _NAN if math.isnan(value) else struct.pack("<d", value)
        millis = round(time_of(number) * 1000)
        parts.append(_field(2, b"\x09" + bits + b"\x10" + _varint(millis)))
    return b"".join(parts)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _snappy(content: bytes) -> bytes:
    """Wrap bytes in the block format of snappy as literals, uncompressed."""
    parts = [_varint(len(content))]
    for begin in range(0, len(content), 65536):
        chunk = content[begin : begin + 65536]
        parts += [b"\xf4", struct.pack("<H", len(chunk) - 1), chunk]
    return b"".join(parts)
