"""Reaching a cluster: kubeconfigs, credentials and their plugins, servers that do not answer."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import ssl
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_served import NAMESPACE, Cluster, Run, config_map, end, hotel, standing

from aiopslab.environments.cluster.connection import Connection, Reach, Request, refusal
from aiopslab.environments.cluster.discovery import discover
from aiopslab.environments.cluster.reading import ClusterReader
from aiopslab.errors import InfraError, PreflightError
from aiopslab.models.kube import KubeError
from aiopslab.wire.certificate import self_signed
from aiopslab.wire.identity import Identity, Rule, administrator, on_call

VERSION = Request("GET", "/version")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Run]]:
    sim = hotel()
    with standing(sim, tmp_path_factory.mktemp("served")) as (cluster, run):
        yield cluster, run
    end(sim)


def rewritten(config: Path, change: Any) -> Path:
    """Copy a kubeconfig with a change."""
    content = yaml.safe_load(config.read_text())
    change(content)
    copy = config.with_name(f"changed-{len(list(config.parent.iterdir()))}")
    copy.write_text(yaml.safe_dump(content))
    return copy


# -- kubeconfigs -----------------------------------------------------------------------------------


def test_a_context_is_chosen_by_name(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab

    def add(content: Any) -> None:
        content["contexts"].append({"name": "other", "context": {"cluster": "cluster"}})
        content["current-context"] = "other"

    config = rewritten(cluster.config_of(), add)
    named = cluster.connect(config, context="cluster")
    assert run(named.ask(VERSION))["gitVersion"].startswith("v1.")
    nobody = cluster.connect(config)
    with pytest.raises(KubeError) as error:
        run(nobody.ask(Request("GET", "/api/v1/pods")))
    assert (error.value.code, error.value.reason) == (401, "Unauthorized")


def test_files_of_the_environment_are_merged(
    lab: tuple[Cluster, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, run = lab
    first = tmp_path / "first"
    first.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config"}))
    monkeypatch.setenv("KUBECONFIG", f"{first}:{cluster.config_of()}")
    connection = Connection(Reach())
    assert run(connection.ask(VERSION))["major"] == "1"
    assert connection.authority_pem == cluster.authority
    assert connection.server == cluster.url
    run(connection.aclose())


def test_a_kubeconfig_that_is_not_there_is_told_before_anything_is_tried(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="nowhere") as error:
        Connection(Reach(str(tmp_path / "nowhere")))
    assert error.value.hint == "kubectl config get-contexts"


def test_a_context_that_is_not_there_is_named(lab: tuple[Cluster, Run]) -> None:
    with pytest.raises(PreflightError, match="nonesuch"):
        lab[0].connect(context="nonesuch")


# -- credentials -----------------------------------------------------------------------------------


def plugin(home: Path, *tokens: str, expires: str = "") -> Path:
    """Write a credential plugin that gives one token after the other, the last one for ever."""
    script, state = home / "plugin", home / "asked"
    script.write_text(f"""#!{sys.executable}
import json, pathlib
state = pathlib.Path({str(state)!r})
asked = len(state.read_text()) if state.exists() else 0
state.write_text("x" * (asked + 1))
tokens = {list(tokens)!r}
status = {{"token": tokens[min(asked, len(tokens) - 1)]}}
status |= {{"expirationTimestamp": {expires!r}}} if {expires!r} else {{}}
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                  "status": status}}))
""")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def with_plugin(cluster: Cluster, command: Path) -> Path:
    spec = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(command),
            "interactiveMode": "Never"}  # fmt: skip
    return rewritten(
        cluster.config_of(), lambda c: c["users"].__setitem__(0, {"name": "user", "user": {
            "exec": spec}})
    )  # fmt: skip


def test_a_plugin_gives_the_token(lab: tuple[Cluster, Run], tmp_path: Path) -> None:
    cluster, run = lab
    command = plugin(tmp_path, cluster.tokens.issue(administrator()))
    connection = cluster.connect(with_plugin(cluster, command))
    for _ in range(3):
        assert run(connection.ask(Request("GET", "/api/v1/nodes")))["items"]
    assert (tmp_path / "asked").read_text() == "x"


def test_a_plugin_is_asked_again_when_its_token_is_refused(
    lab: tuple[Cluster, Run], tmp_path: Path
) -> None:
    cluster, run = lab
    command = plugin(tmp_path, "withdrawn", cluster.tokens.issue(administrator()))
    connection = cluster.connect(with_plugin(cluster, command))
    assert run(connection.ask(Request("GET", "/api/v1/nodes")))["items"]
    assert (tmp_path / "asked").read_text() == "xx"


def test_a_plugin_is_asked_again_when_its_token_has_expired(
    lab: tuple[Cluster, Run], tmp_path: Path
) -> None:
    cluster, run = lab
    token = cluster.tokens.issue(administrator())
    command = plugin(tmp_path, token, expires="2020-01-01T00:00:00Z")
    connection = cluster.connect(with_plugin(cluster, command))
    before = len((tmp_path / "asked").read_text())
    assert run(connection.ask(Request("GET", "/api/v1/nodes")))["items"]
    assert len((tmp_path / "asked").read_text()) > before


def test_a_plugin_that_fails_is_named(lab: tuple[Cluster, Run], tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="no-such-plugin") as error:
        lab[0].connect(with_plugin(lab[0], tmp_path / "no-such-plugin"))
    assert error.value.hint == "kubectl get --raw /version"


class _Hello(http.server.BaseHTTPRequestHandler):
    """Says who the client's certificate is of."""

    def do_GET(self) -> None:
        certificate = self.connection.getpeercert()  # type: ignore[attr-defined]
        subject = dict(pair for part in certificate["subject"] for pair in part)
        body = json.dumps({"user": subject["commonName"]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def asking_for_certificates(ours: tuple[Path, Path], client: Path) -> Iterator[int]:
    """Serve over TLS, to those alone who have the client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ours)
    context.load_verify_locations(client)
    context.verify_mode = ssl.CERT_REQUIRED
    with http.server.HTTPServer(("127.0.0.1", 0), _Hello) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_client_certificate_says_who_we_are(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    served, ours = self_signed("127.0.0.1"), self_signed("127.0.0.1")
    client, _ = ours.files(tmp_path)

    def encoded(data: bytes) -> str:
        return base64.b64encode(data).decode()

    with asking_for_certificates(served.files(tmp_path / "server"), client) as port:
        cluster = {"server": f"https://127.0.0.1:{port}",
                   "certificate-authority-data": encoded(served.certificate)}  # fmt: skip
        user = {"client-certificate-data": encoded(ours.certificate),
                "client-key-data": encoded(ours.key)}  # fmt: skip
        content = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        config = tmp_path / "config"
        config.write_text(yaml.safe_dump(content))
        connection = Connection(Reach(str(config)))
        assert asyncio.run(connection.ask(Request("GET", "/"))) == {"user": "aiopslab"}
        asyncio.run(connection.aclose())


# -- servers ---------------------------------------------------------------------------------------


def test_a_server_with_another_certificate_is_not_talked_to(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    other = base64.b64encode(self_signed("127.0.0.1").certificate).decode()
    config = rewritten(
        cluster.config_of(),
        lambda c: c["clusters"][0]["cluster"].update({"certificate-authority-data": other}),
    )
    with pytest.raises(InfraError, match="certificate verify failed"):
        run(cluster.connect(config).ask(VERSION))


def test_a_server_that_is_not_there_is_a_failure_of_the_lab(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    config = rewritten(
        cluster.config_of(),
        lambda c: c["clusters"][0]["cluster"].update({"server": "https://127.0.0.1:1"}),
    )
    with pytest.raises(InfraError, match=r"GET https://127\.0\.0\.1:1/version"):
        run(cluster.connect(config).ask(VERSION))


def silent(api: Any, _tokens: Any) -> Any:
    """Leave requests for pods without an answer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path", "").endswith("/pods"):
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await api(scope, receive, send)

    return app


def test_a_request_without_an_answer_ends_at_its_time(
    lab: tuple[Cluster, Run], tmp_path: Path
) -> None:
    with standing(lab[0].sim, tmp_path, silent) as (cluster, run):
        with pytest.raises(InfraError, match="/api/v1/pods"):
            run(cluster.connect(timeout_s=0.3).ask(Request("GET", "/api/v1/pods")))
        waiting = cluster.connect(timeout_s=2.0, deadline_s=0.2)
        with pytest.raises(InfraError, match=r"no answer in 0\.2 s"):
            run(waiting.ask(Request("GET", "/api/v1/pods")))


def busy(api: Any, _tokens: Any) -> Any:
    """Ask every client to come again once."""
    refused = set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        key = scope.get("method"), scope.get("path")
        if scope["type"] == "http" and key not in refused:
            refused.add(key)
            headers = [(b"retry-after", b"0"), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 429, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await api(scope, receive, send)

    return app


def test_a_busy_server_is_asked_again(lab: tuple[Cluster, Run], tmp_path: Path) -> None:
    with standing(lab[0].sim, tmp_path, busy) as (cluster, run):
        kube = cluster.kube()
        assert run(kube.list("Pod", NAMESPACE))
        patched = run(kube.patch("Deployment", "geo", {}, namespace=NAMESPACE, actor="t"))
        assert patched["kind"] == "Deployment"


def test_no_more_requests_are_under_way_than_allowed(
    lab: tuple[Cluster, Run], tmp_path: Path
) -> None:
    most, now = 0, 0

    def counting(api: Any, _tokens: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal most, now
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.01)
            await api(scope, receive, send)
            now -= 1

        return app

    async def many(connection: Connection) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(connection.ask(VERSION))

    with standing(lab[0].sim, tmp_path, counting) as (cluster, run):
        run(many(cluster.connect(concurrency=3)))
    assert most == 3


# -- refusals --------------------------------------------------------------------------------------


def test_what_stands_between_refuses_in_words_of_its_own() -> None:
    error = refusal(502, b"<html>bad gateway</html>")
    assert (error.code, error.reason) == (502, "BadGateway")
    assert error.message == "<html>bad gateway</html>"
    assert refusal(503, b"").message == "ServiceUnavailable"
    assert refusal(599, b"{}").reason == "Unknown"


def test_rights_are_those_of_the_identity(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    reader = cluster.kube(cluster.config_of(on_call("oncall", "diagnosis", NAMESPACE)))
    assert run(reader.get("Deployment", "geo", NAMESPACE))["kind"] == "Deployment"
    with pytest.raises(KubeError) as error:
        run(reader.delete("Deployment", "geo", NAMESPACE, actor="x"))
    assert (error.value.code, error.value.reason) == (403, "Forbidden")
    assert error.value.message == (
        'deployments.apps "geo" is forbidden: User "oncall" cannot delete resource "deployments" '
        'in API group "apps" in the namespace "hotel"'
    )


def test_a_page_that_may_not_be_seen_leaves_the_description_without_it(
    lab: tuple[Cluster, Run],
) -> None:
    cluster, run = lab
    nodes = Identity("guest", rules=(Rule(("get", "list"), ("",), ("nodes", "pods", "events")),))
    text = run(cluster.kube(cluster.config_of(nodes)).describe("Node", "node-a"))
    assert "HolderIdentity" in text


# -- discovery -------------------------------------------------------------------------------------


def test_both_forms_of_discovery_tell_the_same(lab: tuple[Cluster, Run]) -> None:
    cluster, run = lab
    connection = cluster.connect()
    whole = run(connection.run(discover, connection.call))
    lists = run(connection.run(discover, connection.call, aggregated=False))
    assert {(s.kind, s.verbs) for s in whole.served} == {(s.kind, s.verbs) for s in lists.served}
    assert whole.find("hpa").kind.version == "v2"
    assert whole.find("events").kind.group == ""
    assert whole.find("nonesuch") is None


CUSTOM = {
    "name": "widgets", "singularName": "widget", "namespaced": True, "kind": "Widget",
    "shortNames": ["wd"], "verbs": ["get", "list", "delete"],
}  # fmt: skip


def extended(api: Any, _tokens: Any) -> Any:
    """Serve a custom resource beside the cluster's own kinds, and a group whose server is away."""
    groups = [
        {"name": name, "versions": [{"groupVersion": f"{name}/v1", "version": "v1"}],
         "preferredVersion": {"groupVersion": f"{name}/v1", "version": "v1"}}
        for name in ("example.com", "away.example.com")
    ]  # fmt: skip
    answers = {
        "/apis": {"kind": "APIGroupList", "groups": groups},
        "/apis/example.com/v1": {
            "kind": "APIResourceList", "groupVersion": "example.com/v1", "resources": [CUSTOM]},
        "/apis/example.com/v1/namespaces/hotel/widgets": {
            "kind": "WidgetList", "metadata": {"resourceVersion": "1"},
            "items": [{"metadata": {"name": "w"}, "spec": {"size": 3}}]},
    }  # fmt: skip

    async def app(scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        if path not in answers and "away" not in path:
            await api(scope, receive, send)
            return
        status, body = (200, json.dumps(answers[path])) if path in answers else (503, "away")
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body.encode()})

    return app


def test_custom_resources_are_kinds_like_all_others(
    lab: tuple[Cluster, Run], tmp_path: Path
) -> None:
    with standing(lab[0].sim, tmp_path, extended) as (cluster, run):
        (widget,) = run(cluster.kube().list("wd", NAMESPACE))
    assert (widget["apiVersion"], widget["kind"]) == ("example.com/v1", "Widget")
    assert widget["spec"] == {"size": 3}


# -- what real servers do besides ------------------------------------------------------------------


def forgetful(api: Any, _tokens: Any) -> Any:
    """Forget the state of a list before its second page."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if b"continue=" not in scope.get("query_string", b""):
            await api(scope, receive, send)
            return
        status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old",
                  "metadata": {"continue": "inconsistent"}}  # fmt: skip
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 410, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(status).encode()})

    return app


def test_a_list_whose_state_is_forgotten_is_asked_for_at_once(
    lab: tuple[Cluster, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = ClusterReader._pages

    def short(*args: Any, limit: int = 3) -> Iterator[Any]:
        return pages(*args, limit=limit)

    monkeypatch.setattr(ClusterReader, "_pages", short)
    sim = lab[0].sim
    with standing(sim, tmp_path, forgetful) as (cluster, run):
        found = run(cluster.kube().list("Pod"))
    assert len(found) == len(sim.world.api.list("Pod")) > 3


def exact(api: Any, _tokens: Any) -> Any:
    """Refuse replacements that name no version, as several kinds do on a real server."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("method") != "PUT":
            await api(scope, receive, send)
            return
        message = await receive()
        if json.loads(message["body"])["metadata"].get("resourceVersion"):
            await api(scope, lambda: asyncio.sleep(0, message), send)
            return
        words = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
        cause = {"reason": "FieldValueInvalid", "field": "metadata.resourceVersion"}
        status = {"kind": "Status", "code": 422, "reason": "Invalid", "message": words,
                  "details": {"name": "x", "causes": [cause]}}  # fmt: skip
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 422, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(status).encode()})

    return app


def test_a_replacement_names_the_present_version_where_one_is_wanted(
    lab: tuple[Cluster, Run], tmp_path: Path
) -> None:
    with standing(lab[0].sim, tmp_path, exact) as (cluster, run):
        kube = cluster.kube()
        run(kube.create(config_map("exact", a="1"), actor="t"))
        replaced = run(kube.replace(config_map("exact", a="2"), actor="t"))
        assert replaced["data"] == {"a": "2"}
        with pytest.raises(KubeError) as error:
            run(kube.replace(config_map("none"), actor="t"))
        assert error.value.code == 404


def test_an_answer_that_is_no_json_is_a_failure_of_the_lab(
    lab: tuple[Cluster, Run], tmp_path: Path
) -> None:
    def around(_api: Any, _tokens: Any) -> Any:
        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"<html>log in</html>"})

        return app

    said = "GET /version: the answer is no JSON: '<html>log in"
    served = standing(lab[0].sim, tmp_path, around)
    with served as (cluster, run), pytest.raises(InfraError, match=said):
        run(cluster.connect().ask(VERSION))
