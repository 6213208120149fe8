from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from services_shop import TWO_SERVICES

from aiopslab.errors import ContentError, UsageError
from aiopslab.services import catalogue

SHOP = TWO_SERVICES % {"web": "go", "stock": "java"}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A content root of a user with the shop in it; returns its app.yaml."""
    path = tmp_path / "services" / "shop" / "app.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(SHOP, encoding="utf-8")
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(tmp_path))
    return path


def test_an_app_of_a_user_is_found_beside_ours(shop: Path) -> None:
    assert {"hotel", "shop"} <= set(catalogue.app_names())
    assert catalogue.load_app("shop").title == "Shop"
    assert catalogue.runbooks("shop") == {}


def test_an_unknown_app_suggests_a_near_one(shop: Path) -> None:
    with pytest.raises(UsageError, match="unknown app 'hotle'") as caught:
        catalogue.load_app("hotle")
    assert "hotel" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "complaint", "hint"),
    [
        ("call: stock GET /stock}, {sleep", "call: stok GET /stock}, {sleep", "'stok'", "stock"),
        ("- call: stock GET /stock", "- call: stock GET /stocks", "'GET /stocks'", "GET /stock"),
        ("- call: stock POST /take", "- call: stock", "is not 'service METHOD /path'", ""),
        ("sql: read_stock", "sql: read_stok", "unknown statement 'read_stok'", "read_stock"),
        ("ttl: $CACHE_TTL_S", "ttl: $CACHE_TLT_S", "key 'CACHE_TLT_S'", "CACHE_TTL_S"),
        ("params: {item: 1}", "params: {}", "needs the parameter 'item'", ""),
        ("cache: stock-valkey", "cache: stock-postgres", "is not a valkey store", ""),
        ("users: {stock:", "users: {stocks:", "unknown user 'stock'", "stocks"),
        ("grants: {items:", "grants: {item:", "unknown table 'item'", "items"),
        ("entry: web", "entry: wep", "unknown service 'wep'", "web"),
        ("slos: {buy:", "slos: {bye:", "promise for journey 'buy'", "bye"),
        ("owner: core\n    workers", "owner: cor\n    workers", "unknown owner 'cor'", "core"),
        ("1.1.0: {changes", "1.0.0: {changes", "holds the deployed version", ""),
        ('cache: {delete: "stock:{item}"}', "cache: {ttl: 3}", "exactly one of", ""),
    ],
)
def test_a_dangling_reference_is_refused(
    shop: Path, old: str, new: str, complaint: str, hint: str
) -> None:
    assert SHOP.count(old) == 1, "the edit must change exactly one place"
    shop.write_text(SHOP.replace(old, new), encoding="utf-8")
    with pytest.raises(ContentError) as caught:
        catalogue.load_app("shop")
    assert complaint in caught.value.message
    assert hint in caught.value.hint
    assert str(shop) in caught.value.where


def test_a_background_job_has_no_request_to_take_parameters_from(shop: Path) -> None:
    data = yaml.safe_load(SHOP)
    job = {
        "name": "sweep",
        "every": 5,
        "steps": [{"sql": "read_stock", "params": {"item": "{item}"}}],
    }
    data["services"]["stock"]["background"] = [job]
    shop.write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(ContentError, match=r"no request gives \{item\}"):
        catalogue.load_app("shop")


def kept(kind: str, target: str) -> dict[str, object]:
    return {"invariants": [{"id": "kept", "kind": kind, "target": target}]}


@pytest.mark.parametrize(
    ("intent", "complaint"),
    [
        (kept("rows_kept", "stok-postgres"), "unknown store 'stok-postgres'"),
        (kept("volume_kept", "web"), "unknown store 'web'"),
        (kept("messages_kept", "stock-postgres"), "unknown queue 'stock-postgres'"),
        (kept("ready_replicas", "wep"), "unknown component 'wep'"),
        (kept("object_exists", "web"), "'web' is no object; write Kind/name"),
        ({"forbidden": ["delet Service/*"]}, "'delet Service/*' is no act"),
        ({"forbidden": ["scale Deployment/web below two"]}, "write 'delete Kind/name'"),
        ({"forbidden": ["scale Deployment/web"]}, "is no act"),
    ],
)
def test_what_the_owners_want_kept_has_to_be_there(
    shop: Path, intent: dict[str, object], complaint: str
) -> None:
    shop.write_text(yaml.safe_dump(yaml.safe_load(SHOP) | {"intent": intent}), encoding="utf-8")
    with pytest.raises(ContentError) as caught:
        catalogue.load_app("shop")
    assert complaint in caught.value.message
