"""Mutual TLS between services: certificates, who shows which, files that change under a process."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import pytest
from services_mini import START, MiniWorld
from services_shop import make_app

from aiopslab.errors import ContentError
from aiopslab.models.app import App
from aiopslab.seeds import Streams
from aiopslab.services import certificates
from aiopslab.services.certificates import KeyPair, authority, issue, read
from aiopslab.services.protocols import ConnectionReset, Request, Response, TlsError
from aiopslab.services.tls_manifests import CERTIFICATE_FILE, names_of, tls_objects
from aiopslab.services.validation import validate
from aiopslab.world.container import Container, ContainerSpec, PodIdentity
from aiopslab.world.images.renewer import Renewer
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.bootstrap import bootstrap
from aiopslab.world.netns import Netns
from aiopslab.world.tls import Certificate, ClientTls

VALIDITY_S = 600.0
SIGNER = authority("Shop Authority")


def secured(**tls: Any) -> App:
    """Return the shop whose ``stock`` serves TLS."""
    app = make_app().model_dump(by_alias=True, exclude_none=True)
    app["tls"] = {"authority": "Shop Authority", "owner": "core", "validity": VALIDITY_S} | tls
    app["services"]["stock"]["tls"] = True
    app["services"]["web"]["config"]["STOCK_MAX_AGE_S"] = 3600
    size = {"cpu": "1000m", "memory": "512Mi"}
    for part in [*app["services"].values(), *app["stores"].values()]:
        part["resources"] = {"requests": size, "limits": size}
    return App.model_validate(app)


class Shop:
    """The secured shop, running, and a stranger in its network."""

    def __init__(self, **changes: Any) -> None:
        self.world = MiniWorld(secured(), **changes)
        self.world.run_for(10.0)
        self.stranger: Netns = self.world.network.netns(
            "198.19.9.9", namespace="shop", component="stranger", labels={}, node="node-a"
        )
        self._items = itertools.count()

    def page(self) -> int:
        """Ask the entry for a page that no cache knows."""

        async def ask() -> int:
            connection = await self.stranger.connect("web", 8080, timeout_s=1.0)
            request = Request("GET", "/page", {"item": str(next(self._items))})
            reply: Response = await connection.call(request, timeout_s=3.0)
            connection.close()
            return reply.status

        return self.world.loop.run_until_complete(ask())

    def knock(self, path: str, tls: ClientTls | None) -> int:
        async def ask() -> int:
            connection = await self.stranger.connect("stock", 8080, timeout_s=1.0, tls=tls)
            reply: Response = await connection.call(Request("GET", path), timeout_s=1.0)
            return reply.status

        return self.world.loop.run_until_complete(ask())

    def show(self, service: str, pair: KeyPair) -> None:
        """Bring another certificate into the pods of a service, as the kubelet does."""
        for box in self.world.boxes[service]:
            box.files[CERTIFICATE_FILE] = pair.certificate

    def errors(self) -> list[str]:
        return [str(line) for line in self.world.store.frame("logs")["line"] if "x509" in line]


def test_a_certificate_says_what_was_asked_for_and_repeats_byte_for_byte() -> None:
    pair = issue(SIGNER, "stock", ["stock", "stock.shop"], START, START + 60.0)
    assert pair == issue(SIGNER, "stock", ["stock", "stock.shop"], START, START + 60.0)
    (facts,) = read(pair.certificate)
    (root,) = read(SIGNER.certificate)
    assert facts.issuer_key_id == root.key_id
    assert (facts.subject, facts.issuer) == ("CN=stock", "CN=Shop Authority")
    assert facts.dns_names == ("stock", "stock.shop")
    assert (facts.not_before, facts.not_after) == (START, START + 60.0)


def test_another_generation_of_an_authority_has_its_name_and_another_key() -> None:
    old, new = (read(authority("A", generation).certificate)[0] for generation in (1, 2))
    assert old.subject == new.subject
    assert old.key_id != new.key_id
    bundle = authority("A", 1).certificate + authority("A", 2).certificate
    assert [facts.key_id for facts in read(bundle)] == [old.key_id, new.key_id]


def test_what_is_no_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"."):
        certificates.read("nothing")


def test_services_speak_with_certificates_and_strangers_do_not_get_in() -> None:
    shop = Shop()
    assert shop.page() == 200
    blind = ClientTls(frozenset(), verify=False)
    assert shop.knock("/healthz", blind) == 200
    assert shop.knock("/stock", blind) == 400
    with pytest.raises(ConnectionReset):
        shop.knock("/stock", None)


def test_an_expired_certificate_hurts_new_connections_only() -> None:
    shop = Shop()
    assert shop.page() == 200
    shop.world.run_for(VALIDITY_S)
    assert shop.page() == 200
    hang_up(shop)
    assert shop.page() == 503
    assert any("certificate has expired" in line for line in shop.errors())


def renewed(service: str, now: float, names: list[str] | None = None) -> KeyPair:
    wanted = names if names is not None else names_of(secured(), service)
    return issue(SIGNER, service, wanted, now, now + VALIDITY_S)


def hang_up(shop: Shop) -> None:
    for box in shop.world.boxes["stock"]:
        for connection in list(box.netns._accepted):
            connection.close()


def test_a_renewed_certificate_is_used_without_a_restart() -> None:
    shop = Shop()
    shop.world.run_for(VALIDITY_S)
    for service in ("stock", "web"):
        shop.show(service, renewed(service, shop.world.loop.time()))
    shop.world.run_for(15.0)
    hang_up(shop)
    assert shop.page() == 200


def test_a_process_that_reads_its_certificate_only_at_start_keeps_the_old_one() -> None:
    fixed = {"TLS_RELOAD_MS": "0"}
    shop = Shop(changes={"stock": fixed, "web": fixed})
    shop.world.run_for(VALIDITY_S)
    for service in ("stock", "web"):
        shop.show(service, renewed(service, shop.world.loop.time()))
    shop.world.run_for(15.0)
    hang_up(shop)
    assert shop.page() == 503


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (renewed("stock", START, ["stock.elsewhere"]), "is valid for stock.elsewhere, not stock"),
        (renewed("stock", START, []), "not valid for any names"),
        (
            issue(authority("Shop Authority", 2), "stock", ["stock"], START, START + VALIDITY_S),
            "signed by unknown authority",
        ),
    ],
)
def test_a_wrong_certificate_of_the_server_is_named_by_the_client(
    pair: KeyPair, words: str
) -> None:
    shop = Shop()
    shop.show("stock", pair)
    shop.world.run_for(15.0)
    hang_up(shop)
    assert shop.page() == 503
    assert any(words in line for line in shop.errors())


def test_a_server_refuses_a_client_whose_certificate_has_expired() -> None:
    shop = Shop()
    shop.world.run_for(VALIDITY_S)
    shop.show("stock", renewed("stock", shop.world.loop.time()))
    shop.world.run_for(15.0)
    hang_up(shop)
    (own,) = read(shop.world.boxes["web"][0].files[CERTIFICATE_FILE])
    shown = Certificate(own.issuer_key_id, own.dns_names, own.not_before, own.not_after)
    trust = ClientTls(frozenset({own.issuer_key_id}), certificate=shown)
    with pytest.raises(TlsError, match="remote error: tls: expired certificate"):
        shop.knock("/stock", trust)


def test_the_renewal_issues_what_the_requests_ask_for() -> None:
    app = secured()
    world = MiniWorld(app)
    api = ApiServer(world.loop.time, Streams(1))
    bootstrap(api)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    for obj in [namespace, *tls_objects(app, START)]:
        api.create(obj, actor="ci")
    patch = {"data": {"web": "web.example"}}
    name = "shop-certificates"
    api.patch("ConfigMap", name, patch, namespace="shop", type="merge", actor="kim")
    identity = PodIdentity("renewal-1", "shop", "u", "198.19.8.8", {}, "renewal")
    netns = world.network.netns(
        "198.19.8.8", namespace="shop", component="renewal", labels={}, node="node-a"
    )
    spec = ContainerSpec("renew", app.tls.image.ref if app.tls else "")
    box = Container(
        spec, identity, node=world.nodes[0], netns=netns, streams=world.streams, store=world.store
    )
    world.run_for(120.0)
    box.start(Renewer(api, app))
    world.run_for(5.0)
    assert box.exit is not None
    assert box.exit.code == 0
    data = api.get("Secret", "web-tls", "shop")["data"]
    (facts,) = read(base64.b64decode(data["tls.crt"]).decode())
    assert facts.dns_names == ("web.example",)
    assert START + 120.0 <= facts.not_before <= START + 125.0
    assert facts.not_after == facts.not_before + VALIDITY_S


def test_tls_without_an_authority_and_at_the_entry_is_refused(tmp_path: Any) -> None:
    app = secured().model_dump(by_alias=True, exclude_none=True)
    at_entry = app | {"services": app["services"] | {"web": app["services"]["web"] | {"tls": True}}}
    with pytest.raises(ContentError, match="the edge speaks plain text"):
        validate(App.model_validate(at_entry), tmp_path / "app.yaml")
    del app["tls"]
    with pytest.raises(ContentError, match="has no authority"):
        validate(App.model_validate(app), tmp_path / "app.yaml")
