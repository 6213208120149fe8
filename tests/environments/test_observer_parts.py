"""Parts of the observer by themselves: formats, kubelets, who wrote, what is grave, last words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_served import NAMESPACE, end, hotel
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.environments.sim import Sim
from aiopslab.observer import kubelet
from aiopslab.observer.changes import UNKNOWN, actor_of
from aiopslab.observer.events import event_of
from aiopslab.observer.lacks import Lacks
from aiopslab.observer.stores import nats, valkey
from aiopslab.observer.tailing import stamped_line, unsent
from aiopslab.telemetry.exposition import Exposed, read
from aiopslab.telemetry.logs import SEVERITIES
from aiopslab.telemetry.severity import severity_of

NAMES = ["a", "a_total"]
VALUES = st.floats() | st.integers(-5, 5).map(float)


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    sim = hotel()
    sim.run_for(60.0)
    yield sim
    end(sim)


# -- Prometheus' text format ---


@given(
    st.sampled_from(NAMES),
    st.dictionaries(st.sampled_from(["x", "le", "_y"]), st.text(max_size=6), max_size=3),
    VALUES,
    st.sampled_from(["", " 1700000000000", " -5"]),
)
def test_what_is_exposed_is_read(
    name: str, labels: dict[str, str], value: float, stamp: str
) -> None:
    def escaped(text: str) -> str:
        return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

    inner = ",".join(f'{k}="{escaped(v)}"' for k, v in labels.items())
    text = f"# HELP a b\n{name}{{{inner}}} {value!r}{stamp}\nother 5\n"
    # A bare carriage return ends no line in this format; what is left of one after it would.
    if any("\r" in v for v in labels.values()):
        return
    (found,) = read(text, NAMES)
    assert (found.name, found.labels) == (name, labels)
    assert repr(found.value) == repr(value)


@given(st.text(max_size=80) | st.text('a{}"\\=,1 \n#', max_size=40))
def test_any_text_is_read_or_passed_over(text: str) -> None:
    for line in read(f"{text}\na 1\n", NAMES)[-1:]:
        assert line == Exposed("a", {}, 1.0)


@pytest.mark.parametrize(
    "line", ["a", "a{", "a{x} 1", 'a{x="1} 1', "a 1_000", "a one", 'a{x="1"} 1 2 3', "a 1 now"]
)
def test_lines_that_are_no_samples_are_passed_over(line: str) -> None:
    assert read(f"{line}\na_total 2", NAMES) == [Exposed("a_total", {}, 2.0)]


# -- kubelets ---


def exposed(name: str, value: float, **labels: str) -> Exposed:
    base = {"namespace": NAMESPACE, "pod": "p", "container": "c", "id": "1"}
    return Exposed(name, base | labels, value)


def test_of_a_container_that_was_restarted_the_younger_run_counts() -> None:
    start, cpu = "container_start_time_seconds", "container_cpu_usage_seconds_total"
    found = kubelet.containers(
        [
            exposed(start, 10.0), exposed(cpu, 5.0),
            exposed(start, 20.0, id="2"), exposed(cpu, 1.0, id="2", cpu="total"),
            exposed(cpu, 9.0, namespace="other"), exposed(cpu, 9.0, container=""),
            exposed(cpu, 9.0, container="POD"),
        ],
        NAMESPACE,
    )  # fmt: skip
    assert found == {("p", "c"): {start: 20.0, cpu: 1.0}}


def test_the_machine_has_the_figures_that_are_known_and_no_others() -> None:
    own = [
        Exposed("machine_cpu_cores", {}, 2.0),
        Exposed("machine_memory_bytes", {}, 100.0),
        Exposed("container_start_time_seconds", {"id": "/"}, 50.0),
        Exposed("container_cpu_usage_seconds_total", {"id": "/", "cpu": "total"}, 30.0),
        Exposed("container_cpu_user_seconds_total", {"id": "/"}, 20.0),
        Exposed("container_cpu_system_seconds_total", {"id": "/"}, 10.0),
        Exposed("container_cpu_user_seconds_total", {"id": "/kubepods"}, 7.0),
        Exposed("container_pressure_cpu_waiting_seconds_total", {"id": "/"}, 3.0),
    ]
    summary = {"node": {"memory": {"availableBytes": 40}, "fs": {"capacityBytes": 9}}}
    found = {
        (s.name, *dict(s.labels).values()): s.value for s in kubelet.machine(own, summary, 100)
    }
    assert found == {
        ("node_cpu_seconds_total", "0", "idle"): 35.0,
        ("node_cpu_seconds_total", "0", "system"): 5.0,
        ("node_cpu_seconds_total", "0", "user"): 10.0,
        ("node_cpu_seconds_total", "1", "idle"): 35.0,
        ("node_cpu_seconds_total", "1", "system"): 5.0,
        ("node_cpu_seconds_total", "1", "user"): 10.0,
        ("node_pressure_cpu_waiting_seconds_total",): 3.0,
        ("node_memory_MemTotal_bytes",): 100.0,
        ("node_memory_MemAvailable_bytes",): 40.0,
        ("node_filesystem_size_bytes", "rootfs", "", "/"): 9.0,
        ("node_boot_time_seconds",): 50.0,
    }
    assert kubelet.machine([], {}, 100) == []


def test_volumes_are_those_that_pods_of_the_app_have_claimed() -> None:
    volume = {"name": "data", "pvcRef": {"name": "data-db-0"}, "usedBytes": 5, "capacityBytes": 9}
    pods = [
        {"podRef": {"name": "db-0", "namespace": NAMESPACE},
         "volume": [volume, {"name": "tmp", "usedBytes": 7}]},
        {"podRef": {"name": "db-0", "namespace": "other"}, "volume": [volume]},
    ]  # fmt: skip
    found = kubelet.volumes({"pods": pods}, NAMESPACE)
    assert {(s.name, dict(s.labels)["persistentvolumeclaim"], s.value) for s in found} == {
        ("kubelet_volume_stats_capacity_bytes", "data-db-0", 9.0),
        ("kubelet_volume_stats_used_bytes", "data-db-0", 5.0),
    }


KEYS = [
    "pods", "node", "memory", "volume", "podRef", "pvcRef", "name", "namespace", "account_details",
    "stream_detail", "consumer_detail", "start",
]  # fmt: skip
ANY_JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.just(NAMESPACE),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
        | inner.map(lambda i: {"pods": [i, {"podRef": {"namespace": NAMESPACE}, "volume": i}]})
        | inner.map(lambda i: {"account_details": [{"stream_detail": i}, i]})
        | inner.map(lambda i: [{"consumer_detail": i}, {"pvcRef": i}])
    ),
)


@given(ANY_JSON)
def test_a_summary_of_any_shape_costs_its_figures_alone(summary: Any) -> None:
    found = kubelet.understood([], summary, NAMESPACE, 0.0)
    assert found.containers == {}


# -- who wrote ---


def written(*entries: tuple[str, str, str, str]) -> dict[str, Any]:
    fields = [
        {"manager": m, "operation": "Update", "time": t, "subresource": s, "fieldsV1": {"f": f}}
        for m, t, s, f in entries
    ]
    return {"kind": "ConfigMap", "metadata": {"name": "x", "managedFields": fields}}


@pytest.mark.parametrize(
    ("before", "after", "actor"),
    [
        (None, written(("kubectl-create", "1", "", "a")), "kubectl-create"),
        (
            written(("kubectl-create", "1", "", "a")),
            written(("kubectl-create", "1", "", "a"), ("kubectl-edit", "2", "", "b")),
            "kubectl-edit",
        ),
        # Within a second: the entry that is new counts, not its time.
        (
            written(("ann", "2", "", "a")),
            written(("ann", "2", "", "a"), ("ben", "2", "", "c")),
            "ben",
        ),
        # Who loses fields to another wrote nothing; a write of the scale has no time.
        (
            written(("ann", "2", "", "a")),
            written(("ann", "2", "", "less"), ("kubectl", "", "scale", "c")),
            "kubectl",
        ),
        (
            written(("ann", "2", "", "a"), ("kubectl", "", "scale", "c")),
            written(("ann", "2", "", "a"), ("kubectl", "", "scale", "d")),
            "kubectl",
        ),
        (
            written(("ann", "1", "", "a")),
            written(("ann", "1", "", "a"), ("kube-controller-manager", "2", "scale", "b")),
            "system:kube-controller-manager",
        ),
        (
            written(("ann", "1", "", "a")),
            written(("ann", "2", "", "b"), ("kubelet", "3", "status", "c")),
            "ann",
        ),
        (None, {"kind": "ConfigMap", "metadata": {"name": "x"}}, UNKNOWN),
    ],
)
def test_the_actor_is_the_manager_whose_fields_changed(before: Any, after: Any, actor: str) -> None:
    assert actor_of(before, after) == actor


@pytest.mark.parametrize(
    "lacking", [{"type": "Odd"}, {"lastTimestamp": None}, {"lastTimestamp": "soon"}]
)
def test_an_event_that_does_not_say_what_or_when_is_none(lacking: dict[str, Any]) -> None:
    event = {
        "kind": "Event", "type": "Normal", "reason": "R", "lastTimestamp": "2026-01-01T00:00:00Z",
        "metadata": {"name": "e", "namespace": "n"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "n"},
    }  # fmt: skip
    whole = event_of(event)
    assert whole is not None
    assert (whole.name, whole.count, whole.component) == ("p", 1, "")
    assert event_of(event | lacking) is None


# -- lines ---


def test_lines_are_as_grave_as_the_world_says(sim: Sim) -> None:
    rows, total = sim.world.store.logs.search(start=0, end=9e9, limit=100_000)
    assert total > 50
    stores = [r for r in rows if r.service in sim.app.stores]
    assert stores
    assert [r for r in stores if severity_of(r.line) != r.severity] == []


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ("2026-11-30 05:00:00.000 UTC [31] FATAL:  sorry, too many clients already", "FATAL"),
        ("2026-11-30 05:00:00.000 UTC [31] LOG:  statement: SELECT 'ERROR: x'", "INFO"),
        ("2026-11-30 05:00:00.000 UTC [31] DETAIL:  FATAL", "INFO"),
        ("1:M 30 Nov 2026 05:00:00.000 # Out Of Memory allocating", "WARN"),
        ("1:M 30 Nov 2026 05:00:00.000 * Ready to accept connections", "INFO"),
        ("[1] 2026/11/30 05:00:00.000000 [ERR] JetStream resource limits exceeded", "ERROR"),
        ("[1] 2026/11/30 05:00:00.000000 [WRN] slow consumer", "WARN"),
        ('level=error msg="cannot renew"', "ERROR"),
        ('{"level":"warn","msg":"x"}', "WARN"),
        ("2026-11-30 ERROR [main] c.e.App - no", "ERROR"),
        ("errors: 0", "INFO"),
        ("", "INFO"),
    ],
)
def test_a_line_tells_how_grave_it_is(line: str, severity: str) -> None:
    assert severity_of(line) == severity


@given(st.text(max_size=200))
def test_any_line_has_a_severity(line: str) -> None:
    assert severity_of(line) in SEVERITIES


@pytest.mark.parametrize(
    ("sent", "left"),
    [([], ["a", "b", "c"]), (["a", "b"], ["c"]), (["c"], []), (["x"], ["a", "b", "c"])],
)
def test_last_words_are_what_follows_the_last_line_that_was_sent(
    sent: list[str], left: list[str]
) -> None:
    stamped = [(1.0, "a"), (2.0, "b"), (3.0, "c")]
    assert [line for _, line in unsent(stamped, sent)] == left


@given(st.text(max_size=60))
def test_a_line_without_a_time_is_none(text: str) -> None:
    if not text[:4].isdigit():
        assert stamped_line(text) is None
    assert stamped_line(f"2026-11-30T05:00:00.123456789Z {text}") is not None


# -- stores ---


@given(st.text(max_size=100))
def test_any_info_of_a_cache_is_read(text: str) -> None:
    assert valkey.figures(text)[0] == valkey.up(1.0)


@given(ANY_JSON, ANY_JSON)
def test_pages_of_a_queue_of_any_shape_are_read(varz: Any, jsz: Any) -> None:
    with contextlib.suppress(ValueError):
        assert nats.figures(varz, jsz)


# -- what is lacking ---


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, text: str) -> int:
        self.lines.append(text)
        return len(text)

    def flush(self) -> None: ...


def test_what_is_lacking_is_said_once_and_counted_always() -> None:
    log = Log()
    lacks = Lacks(lambda: 0.0, log)  # type: ignore[arg-type]  # all that is used of a file
    for _ in range(3):
        lacks.lack('kubelet "a"', "no answer")
    assert len(log.lines) == 1
    assert 'observer_lacking{what="kubelet \\"a\\""} 1' in list(lacks.lines())
    assert 'observer_failures_total{what="kubelet \\"a\\""} 3' in list(lacks.lines())
    lacks.have('kubelet "a"')
    lacks.have('kubelet "a"')
    assert [line.split(" ", 1)[1] for line in log.lines] == [
        'lacking kubelet "a": no answer\n', 'have kubelet "a" again\n',
    ]  # fmt: skip
    assert not any("observer_lacking{" in line for line in lacks.lines())
