"""Where we answer otherwise than the Prometheus of the test (2.42), each by name with its reason.

Almost all are changes from Prometheus 2 to 3, and we answer as 3 does; the rest are ours. Every
entry is tested on both sides: what we answer is pinned, and that the oracle still differs, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from promql_data import FIRST, ROUND_S, ROUNDS, START, time_of

Labelled = dict[str, float]
"""Value by the labels' values, joined with a blank, the metric name left out."""
_ON_A_SAMPLE = time_of(50)
_BETWEEN = START + 1290.7


@dataclass(frozen=True, slots=True)
class Known:
    """One difference."""

    name: str
    reason: str
    expression: str
    ours: Labelled | str
    """What we answer, or a part of what we refuse it with."""
    theirs: Labelled | str
    """What Prometheus 2.42 answers, or a part of its error."""
    at: float = _BETWEEN


KNOWN = (
    Known(
        "left-open range", "3.0: a sample on the left end of a range is outside",
        "count_over_time(queue_depth{queue='a1'}[15s])", {"a1": 1}, {"a1": 2}, _ON_A_SAMPLE,
    ),
    Known(
        "left-open subquery", "3.0: so is an evaluation on the left end of a subquery",
        "count_over_time(vector(1)[30s:10s])", {"": 3}, {"": 4}, START + 600,
    ),
    Known(
        "left-open rate", "3.0: with one sample less a short rate has no value",
        "rate(steep_total[15s])", {}, {"": 20 / 15}, time_of(60),
    ),
    Known(
        "dot matches newline", "3.0: in matchers . is any character",
        'count(text_info{text=~"line.*two"})', {"": 1}, {},
    ),
    Known(
        "dot matches newline in label_replace", "3.0: there too",
        'sum by (x) (label_replace(text_info{text!~"[a-zü].*"}, "x", "$1", "text", "(line).+"))',
        {}, {"": 1},
    ),
    Known(
        "atan2 drops the metric name", "3.0: as all arithmetic does",
        "count by (__name__) (temperature atan2 2)", {"": 3}, {"temperature": 3},
    ),
    Known(
        "extrapolation to the zero of a counter",
        "3.0: a counter that begins inside the range is extended by half a sample distance or to"
        " its zero, whichever is nearer; 2.42 took the zero if it was within 1.1 distances",
        "increase(steep_total[10m])",
        # 21 samples from 15 to 415 in 300 s; the end is 7.45 s away, the zero 11.25 s.
        {"": 400 * (300 + 7.5 + 7.45) / 300}, {"": 400 * (300 + 11.25 + 7.45) / 300},
        time_of(70) + 7.45,
    ),
    Known(
        "rounding errors between buckets",
        "3.0: counts that differ by less than 1e-12 are equal",
        "histogram_quantile(1, rounding_bucket)", {"": 1}, {"": 2},
    ),
    Known(
        "many-to-one is found before a comparison filters",
        "3.x: the error does not depend on which values pass",
        'memory_bytes{service="cart"} > on (service) limit_bytes',
        "many-to-one matching must be explicit", {},
    ),
    Known(
        "holt_winters is double_exponential_smoothing", "3.0: renamed; compared below",
        'holt_winters(temperature{zone="east"}[1m], 0.5, 0.5) * 0',
        "unknown function with name", {"east": 0},
    ),
    Known(
        "durations are numbers", "3.x: 1m30s is 90",
        "vector(1m30s)", {"": 90}, "parse error",
    ),
    Known(
        "numbers are durations", "3.x: [60] is [1m]",
        "count_over_time(up{instance='10.0.0.0:80'}[60])", {"10.0.0.0:80 app": 4}, "parse error",
    ),
    Known(
        "quoted names", "3.0: a metric name may be any text and stand in the braces",
        'sum({"memory_bytes", service="cart"}) * 0', {"": 0}, "parse error",
    ),
    *(
        Known(f"new function {name}", "3.x has it", expression, ours, "unknown function")
        for name, expression, ours in (
            ("mad_over_time", "mad_over_time(constant[5m])", {"zero": 0, "third": 0}),
            ("first_over_time", 'first_over_time(odd{n="inf"}[1m])', {"inf": -82}),
            ("ts_of_first_over_time",
             'ts_of_first_over_time(odd{n="inf"}[1m])', {"inf": time_of(82)}),
            ("ts_of_last_over_time",
             'ts_of_last_over_time(odd{n="inf"}[1m])', {"inf": time_of(85)}),
            ("ts_of_max_over_time", 'ts_of_max_over_time(odd{n="inf"}[1m])', {"inf": time_of(82)}),
            ("ts_of_min_over_time", 'ts_of_min_over_time(odd{n="inf"}[1m])', {"inf": time_of(85)}),
            ("sort_by_label", 'sort_by_label(queue_depth, "queue") * 0',
             {"a1": 0, "a2": 0, "a10": 0}),
            ("sort_by_label_desc", 'sort_by_label_desc(queue_depth, "queue") * 0',
             {"a10": 0, "a2": 0, "a1": 0}),
            ("max_of", "vector(max_of(1, 2))", {"": 2}),
            ("min_of", "vector(min_of(1, 2))", {"": 1}),
            ("step", "vector(step())", {"": 0}),
            ("range", "vector(range())", {"": 0}),
            ("histogram_quantiles",
             'histogram_quantiles(rounding_bucket, "q", 0.5, 1)', {"0.5": 0.5, "1.0": 1}),
        )
    ),
    *(
        Known(f"function {name}", "3.x: not only after @", f"vector({name}())", {"": _BETWEEN},
              "parse error")
        for name in ("start", "end")
    ),
    Known(
        "histogram_fraction of classic buckets", "3.x: 2.42 knows native histograms only",
        "histogram_fraction(0, 0.5, rounding_bucket)", {"": 0.5}, {},
    ),
    Known(
        "limitk", "3.x: new aggregation",
        "count(limitk(2, memory_bytes))", {"": 2}, "parse error",
    ),
    Known(
        "limit_ratio", "3.x: new aggregation; which series are kept is by our hash, not its",
        "count(limit_ratio(0.5, http_requests_total) or limit_ratio(-0.5, http_requests_total))",
        {"": 18}, "parse error",
    ),
    Known(
        "topk of no number", "3.x: other words, and no error where every k is below 1",
        "topk(NaN, memory_bytes)", "Parameter value is NaN", "overflows int64",
    ),
    Known(
        "stddev of one sample that is NaN", "3.x: NaN, as of several",
        'stddev(odd{n="none"})', {"": math.nan}, {"": 0},
    ),
    Known(
        "@ in subqueries of subqueries", "2.42 moves the inner @ by negative offsets of the outer",
        'avg_over_time(avg_over_time(odd{n="inf"} @ 1700001333.6 [95s:20s] offset -90s)'
        "[95s:20s] offset -90s)", {"inf": -87}, {"inf": -81},
    ),
    Known(
        "timestamp of a unary plus", "ours: the parser forgets the plus, and a selector is left",
        'timestamp(+constant{n="zero"})', {"zero": time_of(85)}, {"zero": _BETWEEN},
    ),
    Known(
        "bytes in strings", "ours: the parser reads \\xNN as a character, Go as a byte",
        'sum(text_info{text="\\u00fcn\\xefc\\u00f6d\\u00e9"})', {"": 1}, {},
    ),
    Known(
        "steps of a subquery", "ours: bounded as those of a query are",
        "count_over_time(vector(1)[1d:5s])", "exceeded maximum resolution of 11,000 points",
        {"": 17_280},
    ),
    Known(
        "times before 1970", "ours: the parser cannot hold them",
        "up @ -60", "timestamp out of bounds for @ modifier", {},
    ),
    Known(
        "info", "ours: not supported", "info(up)", "info() is not supported", "unknown function",
    ),
    Known(
        "native histograms", "ours: not supported, refused by name",
        "histogram_count(memory_bytes)", "native histograms, which are not supported", {},
    ),
)  # fmt: skip
LAST = FIRST + ROUND_S * (ROUNDS - 1)
"""From here on nothing is scraped, and series live for the lookback."""
