"""A grammar of expressions over the samples of ``promql_data``, for hypothesis.

Drawn expressions are well typed and mostly answered. Left out is what turns a rounding error into
another answer: comparisons, rounding and counting of computed values, ties of ``topk``.
"""

from __future__ import annotations

from hypothesis import strategies as st

_COUNTERS = (
    "http_requests_total", 'http_requests_total{code="200"}', 'http_requests_total{pod=~".*-1"}',
    "duration_seconds_bucket", 'duration_seconds_bucket{service!~"idle|ba.*"}', "sparse_total",
    "duration_seconds_sum", 'http_requests_total{service!="user",code!~"4.."}',
)  # fmt: skip
_GAUGES = (
    "memory_bytes", 'memory_bytes{service="cart"}', "temperature", 'temperature{zone!="south"}',
    "queue_depth", "flaky", 'odd{n="nan"}', "up", "limit_bytes", "constant",
)  # fmt: skip
_SHIFTS = ("", "", "", " offset 2m", " offset -45s", " offset 7m", " @ 1700001333.6", " @ end()")
_WINDOWS = ("50s", "1m", "95s", "2m", "4m", "333s", "10m")
_LABELS = ("service", "pod", "code", "zone", "le", "job", "queue", "n", "nosuch")
_OF_COUNTERS = ("rate", "increase", "irate", "resets", "changes")
_OVER_TIME = (
    "avg_over_time", "sum_over_time", "min_over_time", "max_over_time", "count_over_time",
    "last_over_time", "present_over_time", "stddev_over_time", "stdvar_over_time", "delta",
    "idelta", "deriv", "changes",
)  # fmt: skip
_SMOOTH = ("abs", "sgn", "atan", "deg", "rad", "tanh", "sqrt", "exp", "-")


def _pick(*choices: str) -> st.SearchStrategy[str]:
    return st.sampled_from(choices)


_number = _pick("2", "0.5", "-3", "1e3", "7.25")
_counter = st.builds("{}[{}]{}".format, _pick(*_COUNTERS), _pick(*_WINDOWS), _pick(*_SHIFTS))
_gauge = st.builds("{}[{}]{}".format, _pick(*_GAUGES), _pick(*_WINDOWS), _pick(*_SHIFTS))
_ranged = st.one_of(
    st.builds("{}({})".format, _pick(*_OF_COUNTERS), _counter),
    st.builds("{}({})".format, _pick(*_OVER_TIME), _gauge),
    st.builds("quantile_over_time({}, {})".format, _pick("0", "0.3", "0.95", "1"), _gauge),
    # Not with @: see the test of fixed windows.
    st.builds("predict_linear({}[{}], {})".format, _pick(*_GAUGES), _pick(*_WINDOWS), _number),
)
_instant = st.builds("{}{}".format, _pick(*_COUNTERS, *_GAUGES), _pick(*_SHIFTS))
_filtered = st.builds(
    "({} {} {})".format, _instant, _pick(">", "<", ">=", "!=", "== bool", "> bool"),
    _pick("0", "3", "14", "1.1e8", "1500"),
)  # fmt: skip
_grouping = st.one_of(
    st.just(""),
    st.builds(
        " {} ({}) ".format,
        _pick("by", "without"),
        st.lists(_pick(*_LABELS), max_size=3, unique=True).map(", ".join),
    ),
)
# Of finite samples only: see "stddev of one sample that is NaN".
_deviation = st.builds(
    "{}{}({}{})".format,
    _pick("stddev", "stdvar"),
    _grouping,
    _pick("memory_bytes", "temperature", "flaky", "http_requests_total", "up"),
    _pick(*_SHIFTS),
)
_quantile = st.builds(
    "histogram_quantile({}, {})".format,
    _pick("0.05", "0.5", "0.9", "1", "scalar(avg(up))"),
    st.one_of(
        st.builds(
            "{}(duration_seconds_bucket[{}])".format, _pick("rate", "increase"), _pick(*_WINDOWS)
        ),
        # Sums of one series each: where a rank is the count of a bucket, the last bit decides.
        st.builds(
            "sum by (le, service) (rate(duration_seconds_bucket[{}]))".format, _pick(*_WINDOWS)
        ),
        st.just("duration_seconds_bucket"),
    ),
)
_chosen = st.builds(
    "{} ({}, {})".format,
    st.builds("{}{}".format, _pick("topk", "bottomk"), _grouping),
    _pick("1", "2", "scalar(count(up))", "0", "99"),
    # Without ties.
    _pick("memory_bytes", "temperature", 'http_requests_total{code="200"}', "scale"),
)
_joined = st.builds(
    "(memory_bytes{} {} {} {}{})".format,
    _pick(*_SHIFTS),
    _pick("*", "-", "/", "> bool", "<= bool"),
    _pick("on (service)", "ignoring (pod, tier)"),
    _pick("group_left", "group_left (tier)", "group_left (tier, nosuch)"),
    _pick(" limit_bytes", " limit_bytes offset 1m", ' limit_bytes{service!="cart"}'),
)
_leaf = st.one_of(_instant, _filtered, _ranged, _deviation, _quantile, _chosen, _joined)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    aggregated = st.builds(
        "{}{}({})".format,
        _pick("sum", "avg", "min", "max", "count", "group"),
        _grouping,
        inner,
    )
    return st.one_of(
        aggregated,
        st.builds("quantile{}({}, {})".format, _grouping, _pick("0.1", "0.5", "0.9"), inner),
        st.builds("{}({})".format, _pick(*_SMOOTH), inner),
        st.builds("({} {} {})".format, inner, _pick("+", "-", "*", "/"), _number),
        st.builds("({} {} {})".format, _number, _pick("+", "-", "*", "/", "^"), inner),
        st.builds("clamp({}, -2, 1e8)".format, inner),
        st.builds('label_replace({}, "host", "$1", "pod", "(.*)-.")'.format, inner),
        st.builds('label_join({}, "all", "/", "service", "zone")'.format, inner),
        st.builds("({} {} {})".format, inner, _pick("or", "and", "unless"), inner),
        st.builds("({} {} on (service) {})".format, inner, _pick("and", "unless"), inner),
        st.builds("absent({})".format, inner),
        st.builds("vector(scalar({}))".format, inner),
        st.builds("clamp_max({}, scalar({}))".format, inner, inner),
        st.builds("timestamp({})".format, inner),
        st.builds(
            "{}({}[{}:{}]{})".format,
            _pick("avg_over_time", "max_over_time", "count_over_time", "last_over_time"),
            inner,
            # Nested subqueries have their steps on whole seconds, so their windows must not.
            _pick("95s500ms", "3m100ms", "5m300ms"),
            _pick("20s", "45s", "7s"),
            _pick("", " offset 1m", " offset -90s", " @ 1700001555.6"),
        ),
        st.builds("sum by (service) ({0}) / sum by (service) ({0})".format, inner),
        st.builds("({} / on (service) group_left sum by (service) ({}))".format, inner, aggregated),
    )


# Without "@ in subqueries of subqueries", as ``promql_known`` calls it.
expressions = st.recursive(_leaf, _larger, max_leaves=4).filter(
    lambda drawn: "@" not in drawn or drawn.count(":") < 2
)
"""Well-typed expressions of instant vectors."""
