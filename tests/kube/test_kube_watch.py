"""Changes since a revision, and pages of lists that show one moment."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.models.kube import KubeError
from aiopslab.seeds import Streams
from aiopslab.world.kube import history
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.history import Change, History

ACTOR = "alice"
Build = Callable[..., dict[str, Any]]


def config_map(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def names(objects: list[dict[str, Any]]) -> list[str]:
    return [obj["metadata"]["name"] for obj in objects]


def fill(api: ApiServer, count: int) -> None:
    for index in range(count):
        api.create(config_map(f"c{index}"), actor=ACTOR)


def test_changes_are_told_once_each_in_order_with_what_was_before(api: ApiServer) -> None:
    start = api.revision
    first = api.create(config_map("a", k="1"), actor=ACTOR)
    second = api.replace(config_map("a", k="2"), actor=ACTOR)
    gone = api.delete("cm", "a", "shop", actor=ACTOR)
    changes = api.changes_since("configmaps", start)
    assert [(c.event, c.object, c.old) for c in changes] == [
        ("ADDED", first, None),
        ("MODIFIED", second, first),
        ("DELETED", gone, second),
    ]
    assert [c.object["metadata"]["resourceVersion"] for c in changes] == [
        str(c.revision) for c in changes
    ]
    assert list(api.changes_since("configmaps", changes[1].revision)) == [changes[2]]
    assert list(api.changes_since("configmaps", api.revision)) == []


def test_status_updates_and_events_are_changes_too(api: ApiServer, pod: Build) -> None:
    api.create(pod(), actor=ACTOR)
    start = api.revision
    api.update_status("Pod", "web-1", "shop", {"phase": "Running"}, actor="system:node:n")
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "shop"}}
    api.store_event(event)
    api.drop_event("e", "shop")
    assert [c.event for c in api.changes_since("Pod", start)] == ["MODIFIED"]
    assert [c.event for c in api.changes_since("Event", start)] == ["ADDED", "DELETED"]


def test_a_change_that_changes_nothing_is_none(api: ApiServer) -> None:
    fill(api, 1)
    start = api.revision
    api.replace(config_map("c0"), actor=ACTOR)
    assert list(api.changes_since("ConfigMap", start)) == []


def test_a_kind_nobody_wrote_has_no_changes_from_any_revision(api: ApiServer) -> None:
    assert list(api.changes_since("Ingress", 0)) == []


def change(revision: int) -> Change:
    return Change(revision, "ADDED", {}, None)


def test_old_changes_are_forgotten_and_asking_for_them_is_answered_with_expired() -> None:
    kept = History(kept=10)
    for revision in range(1, 100):
        kept.enter("Pod", change(revision))
    with pytest.raises(KubeError) as caught:
        kept.since("Pod", 5)
    error = caught.value
    assert (error.code, error.reason) == (410, "Expired")
    assert error.message.startswith("too old resource version: 5 (")
    assert len(kept.since("Pod", 89)) == 10


@given(st.integers(1, 5), st.lists(st.integers(1, 3), min_size=1, max_size=60))
def test_what_is_kept_is_a_gapless_end_of_what_was_entered(size: int, steps: list[int]) -> None:
    log, entered, revision = History(kept=size), [], 0
    for step in steps:
        revision += step
        entered.append(revision)
        log.enter("Pod", change(revision))
    for asked in range(revision + 1):
        try:
            told = [c.revision for c in log.since("Pod", asked)]
        except KubeError:
            assert len([r for r in entered if r > asked]) > size
        else:
            assert told == [r for r in entered if r > asked]


def test_a_reader_in_another_thread_misses_nothing_while_the_world_writes() -> None:
    log, last = History(kept=500), 20_000
    told: list[int] = []

    def follow() -> None:
        seen = 0
        while seen < last:
            try:
                changes = log.since("Pod", seen)
            except KubeError:  # slower than the history is long: begin anew, as clients do
                told.clear()
                seen += 250
                continue
            told.extend(c.revision for c in changes)
            seen = changes[-1].revision if changes else seen

    reader = threading.Thread(target=follow)
    reader.start()
    for revision in range(1, last + 1):
        log.enter("Pod", change(revision))
    reader.join()
    assert told == list(range(told[0], last + 1))


def test_pages_of_a_list_show_the_moment_of_the_first(api: ApiServer) -> None:
    fill(api, 6)
    first = api.list_page("cm", "shop", limit=2)
    assert (names(first.items), first.remaining) == (["c0", "c1"], 4)
    api.create(config_map("c25"), actor=ACTOR)
    api.delete("cm", "c3", "shop", actor=ACTOR)
    api.replace(config_map("c4", k="new"), actor=ACTOR)
    second = api.list_page("cm", "shop", limit=3, token=first.token)
    assert names(second.items) == ["c2", "c3", "c4"]
    assert "data" not in second.items[2] or not second.items[2]["data"]
    assert (second.revision, second.remaining) == (first.revision, 1)
    third = api.list_page("cm", "shop", limit=3, token=second.token)
    assert (names(third.items), third.token, third.remaining) == (["c5"], "", None)


def test_a_page_of_a_selection_does_not_say_how_much_is_left(api: ApiServer) -> None:
    fill(api, 4)
    found = api.list_page("cm", None, fields="metadata.namespace=shop", limit=1)
    assert found.token
    assert found.remaining is None


def test_a_list_without_a_limit_is_one_page(api: ApiServer) -> None:
    fill(api, 3)
    found = api.list_page("cm", "shop")
    assert (len(found.items), found.token, found.revision) == (3, "", api.revision)


def test_a_token_outlived_by_the_history_offers_one_that_goes_on(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.store, "history", History(kept=2))
    fill(api, 6)
    first = api.list_page("cm", "shop", limit=2)
    for text in "abcdef":
        api.replace(config_map("c0", k=text), actor=ACTOR)
    with pytest.raises(KubeError) as caught:
        api.list_page("cm", "shop", limit=2, token=first.token)
    error = caught.value
    assert (error.code, error.reason) == (410, "Expired")
    assert error.message.startswith("The provided continue parameter is too old")
    rest = api.list_page("cm", "shop", token=error.continue_token)
    assert names(rest.items) == ["c2", "c3", "c4", "c5"]


@pytest.mark.parametrize("token", ["x", "bm8", "eyJydiI6MX0", "ÄÖ", "e30="])
def test_a_token_somebody_made_up_is_refused(api: ApiServer, token: str) -> None:
    with pytest.raises(KubeError) as caught:
        api.list_page("cm", "shop", token=token)
    assert caught.value.code == 400


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "drop"]), st.integers(0, 6), st.integers(0, 2)),
        max_size=30,
    ),
    st.integers(1, 4),
)
def test_pages_joined_are_the_list_at_the_revision_of_the_first(
    writes: list[tuple[str, int, int]], limit: int
) -> None:
    api = ApiServer(lambda: 0.0, Streams(1))
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    api.create(space, actor="system:test")
    fill(api, 5)
    wanted = api.list("cm")
    found = api.list_page("cm", limit=limit)
    items = list(found.items)
    pending = list(writes)
    while found.token:
        for what, index, value in pending[:3]:
            write(api, what, f"c{index}", str(value))
        pending = pending[3:]
        found = api.list_page("cm", limit=limit, token=found.token)
        items += found.items
    assert items == wanted


def write(api: ApiServer, what: str, name: str, value: str) -> None:
    exists = api.find("cm", name, "shop") is not None
    if what == "drop" and exists:
        api.delete("cm", name, "shop", actor=ACTOR)
    elif what == "put":
        put = api.replace if exists else api.create
        put(config_map(name, k=value), actor=ACTOR)


def test_the_history_is_bounded_by_a_few_thousand_changes_a_kind() -> None:
    assert 1000 <= history.KEPT <= 10_000
