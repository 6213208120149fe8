"""The ``kubectl`` tool: its command line, what it shows, what it changes, what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tools_fakes import FakeEnvironment, add_pod, deployment, toolbox

from aiopslab.models.kube import ExecResult, KubeError
from aiopslab.models.observation import Observation
from aiopslab.models.task import Task
from aiopslab.models.trial import Step
from aiopslab.tools import TOOLS, Toolbox
from aiopslab.tools.context import ToolRefused
from aiopslab.tools.kubectl.flags import flags, read
from aiopslab.tools.kubectl.jsonpath import find, render

POD = {
    "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}},
    "conditions": [{"type": "Ready", "status": "True"}, {"type": "Late", "n": 5}],
}
LIST = {"items": [POD, {"metadata": {"name": "b"}, "conditions": []}]}


def shop(task: Task = "mitigation", **how: Any) -> tuple[FakeEnvironment, Toolbox]:
    env, tools = toolbox(task, **how)
    env.kube.add(deployment())
    return env, tools


def run(tools: Toolbox, line: str, stdin: str = "") -> Observation:
    return asyncio.run(tools.call("kubectl", {"args": shlex.split(line), "stdin": stdin}))


def text(tools: Toolbox, line: str, stdin: str = "") -> str:
    seen = run(tools, line, stdin)
    assert seen.ok, seen.text
    return seen.text


def refusal(tools: Toolbox, line: str, stdin: str = "") -> str:
    seen = run(tools, line, stdin)
    assert not seen.ok, seen.text
    return seen.text


def current(env: FakeEnvironment, kind: str = "Deployment", name: str = "web") -> Any:
    return env.kube.api.get(kind, name, "shop")


# -- the command line -----------------------------------------------------------------------------


def test_flags_are_read_in_every_form_kubectl_takes() -> None:
    known = flags("namespace/n tail/ stdin/i? tty/t? env/e* dry-run/=client")
    line = read(
        "x", shlex.split("a -nshop --tail=5 -it -e A=1 -e B=2,C=3 --dry-run b -- c -n"), known
    )
    assert line.words == ["a", "b"]
    assert line.command == ["c", "-n"]
    assert (line.get("namespace"), line.number("tail")) == ("shop", 5)
    assert line.on("stdin")
    assert line.on("tty")
    assert line.all("env") == ["A=1", "B=2", "C=3"]
    assert line.get("dry-run") == "client"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("--nope", "unknown flag: --nope"), ("-z", "unknown shorthand flag: 'z' in -z"),
        ("--tail", "flag needs an argument: --tail"), ("-in", "flag needs an argument: -in"),
        ("--stdin=maybe", 'invalid argument "maybe"'),
    ],
)  # fmt: skip
def test_flags_that_cannot_be_read_are_refused_in_kubectls_words(words: str, problem: str) -> None:
    with pytest.raises(ToolRefused, match="See 'kubectl get --help' for usage") as caught:
        read("get", words.split(), flags("namespace/n tail/ stdin/i?"))
    assert problem in str(caught.value)


@pytest.mark.parametrize(("text_", "seconds"), [("5m", 300.0), ("1h30m", 5400.0), ("500ms", 0.5)])
def test_durations_are_gos(text_: str, seconds: float) -> None:
    line = read("logs", [f"--since={text_}"], flags("since/"))
    assert line.seconds("since") == seconds


@settings(max_examples=40)
@given(st.lists(st.text(max_size=8), max_size=6), st.text(max_size=20))
def test_no_arguments_break_the_tool(words: list[str], stdin: str) -> None:
    _, tools = shop()
    seen = asyncio.run(tools.call("kubectl", {"args": words, "stdin": stdin}))
    assert seen.text


@given(
    st.sampled_from(["get", "logs", "exec", "patch", "label", "apply", "delete", "set", "rollout"]),
    st.lists(
        st.sampled_from(
            ["deploy", "deploy/web", "web", "-l", "a=b", "-o", "jsonpath={..}", "--", "env",
             "image", "web=x:2", "A=1", "A-", "-p", "{}", "-f", "-", "undo", "--all", "--tail",
             "-1", "/"]
        ),
        max_size=7,
    ),
)  # fmt: skip
def test_no_order_of_known_words_breaks_the_tool(verb: str, words: list[str]) -> None:
    _, tools = shop()
    assert asyncio.run(tools.call("kubectl", {"args": [verb, *words]})).text


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("get pods | grep web", "needs a shell"), ("get pods > x", "needs a shell"),
        ("--kubeconfig=/x get pods", "leave it out"), ("get pods --context y", "leave it out"),
        ("get pods --token z", "leave it out"), ("-s https://x get pods", "leave it out"),
        ("proxy", "get --raw"), ("port-forward pod/x 80", "exec POD -- curl"),
        ("cp a b", "cat FILE"), ("edit deploy web", "use patch"), ("plugin list", "no plugins"),
        ("config view", "given"), ("gett pods", "did you mean 'get'"), ("get pods -w", "wait tool"),
        ("logs -f web", "wait tool"), ("apply -f web.yaml", "in the argument stdin"),
        ("'get pods'", "each argument on its own"), ("rollout", "takes status"),
        ("exec web ls", "Use exec [POD] -- [COMMAND]"), ("get", "must provide"),
        ("get --help", "flags:"), ("get deploy web -o table", "allowed formats"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_here_is_refused_with_what_to_do_instead(line: str, hint: str) -> None:
    _, tools = shop()
    assert hint in refusal(tools, line)


def test_flags_before_the_verb_and_the_programs_own_name_are_understood() -> None:
    _, tools = shop()
    for line in ("-n shop get deploy -o name", "kubectl get deploy --namespace=shop -o name"):
        assert text(tools, line) == "deployment.apps/web"


# -- templates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("{.items[*].metadata.name}", "a b"),
        ('{range .items[*]}{.metadata.name}{"\\t"}{end}.', "a\tb\t."),
        ("{.items[0].metadata.labels.app\\.kubernetes\\.io/name}", "x"),
        ("{.items[0].metadata.labels['app.kubernetes.io/name']}", "x"),
        ('{.items[*].conditions[?(@.type=="Ready")].status}', "True"),
        ("{.items[0].conditions[?(@.n>4)].type}", "Late"),
        ("{.items[?(@.metadata.labels)].metadata.name}", "a"),
        ("{..name}", "a b"), ("{.items[-1:].metadata.name}", "b"),
        ("{.items[0,1].metadata.name}", "a b"), ("{$.items[1]['metadata']}", '{"name":"b"}'),
        ("{.nothing.at.all}", ""), ("plain", "plain"), ("{.items[0].conditions[1].n}", "5"),
    ],
)  # fmt: skip
def test_templates_are_filled_in_as_kubectl_does(template: str, wanted: str) -> None:
    assert render(template, LIST) == wanted


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{.items[9].x}", "array index out of bounds: index 9, length 2"),
        ("{.items[*]", "unclosed action"), ("{range .items[*]}x", "unclosed range"),
        ("{end}", "nothing to end"), ("{.items[a]}", "invalid array index"),
        ("{" + ".." * 60 + "}", "more than"), ("{.items[0:2:0]}", "step must be > 0"),
        ("{range ..}{range ..}{range ..}{..}{end}{end}{end}", "more than"),
    ],
)  # fmt: skip
def test_templates_that_cannot_be_filled_in_are_refused(template: str, problem: str) -> None:
    with pytest.raises(ToolRefused, match="error: ") as caught:
        render(template, {"items": LIST["items"], "more": [LIST] * 40})
    assert problem in str(caught.value)


@given(st.text(alphabet="{}[].*@?()='\"$\\,:ab0-9 ", max_size=30))
def test_no_template_breaks_the_reading(template: str) -> None:
    for use in (render, find):
        with contextlib.suppress(ToolRefused):
            use(template, LIST)


# -- looking --------------------------------------------------------------------------------------


def test_objects_are_listed_and_printed_in_every_form() -> None:
    env, tools = shop()
    add_pod(env, "web-1", "web")
    head, row = text(tools, "get pods").splitlines()
    assert head.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.startswith("web-1 ")
    assert text(tools, "get deploy,po -o name") == "deployment.apps/web\npod/web-1"
    assert "deployment.apps/web" in text(tools, "get all")
    assert json.loads(text(tools, "get deploy web -o json"))["kind"] == "Deployment"
    assert json.loads(text(tools, "get deploy -o json"))["kind"] == "List"
    assert text(tools, "get deploy web -o yaml").startswith("apiVersion: apps/v1\nkind: Deployment")
    assert text(tools, "get deploy web -o jsonpath={.spec.replicas}") == "2"
    assert "LABELS" in text(tools, "get pods --show-labels")
    assert text(tools, "get pods -A").startswith("NAMESPACE")
    assert text(tools, "get svc") == "No resources found in shop namespace."
    assert text(tools, "get nodes") == "No resources found"


def test_a_list_is_paged_by_its_url() -> None:
    env, tools = shop()
    for n in range(5):
        add_pod(env, f"web-{n}", "web")
    url, names = "/api/v1/namespaces/shop/pods?limit=2", []
    while True:
        page = json.loads(text(tools, f"get --raw {shlex.quote(url)}"))
        names += [p["metadata"]["name"] for p in page["items"]]
        if "continue" not in page["metadata"]:
            break
        url = f"/api/v1/namespaces/shop/pods?limit=2&continue={page['metadata']['continue']}"
    assert names == [f"web-{n}" for n in range(5)]
    assert "could not find" in refusal(tools, "get --raw /apis/nope/v1/things")
    assert "continue key" in refusal(tools, "get --raw '/api/v1/pods?continue=%25%25%25'")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("get podz", 'error: the server doesn\'t have a resource type "podz"'),
        ("get pods nope", 'Error from server (NotFound): pods "nope" not found'),
        ("describe deploy nope", 'Error from server (NotFound): deployments.apps "nope" not found'),
        ("get pods web -A", "cannot be retrieved by name across all namespaces"),
        ("get deploy web -l a=b", "name cannot be provided when a selector"),
        ("get pods a deploy/b", "there is no need to specify a resource type"),
        ("get pods -l a===", "Error from server (BadRequest)"),
        ("logs nope", 'error: error from server (NotFound): pods "nope" not found'),
        ("explain deploy.nope", 'field "nope" does not exist'),
    ],
)
def test_refusals_are_kubectls(line: str, words: str) -> None:
    _, tools = shop()
    assert words in refusal(tools, line)


def test_secrets_are_shown_as_the_other_tools_show_them() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"},
              "data": {"password": "czNjcmV0LXdvcmQ="}}  # fmt: skip
    for task, visible in (("mitigation", True), ("diagnosis", False)):
        env, tools = toolbox(task)  # type: ignore[arg-type]
        env.kube.add(secret)
        for line in ("get secret s -o yaml", "get secret s -o jsonpath={.data}",
                     "get --raw /api/v1/namespaces/shop/secrets/s"):  # fmt: skip
            assert ("czNjcmV0LXdvcmQ=" in text(tools, line)) is visible


def test_the_cluster_tells_about_itself() -> None:
    _, tools = shop()
    assert "deployments" in text(tools, "api-resources --api-group=apps")
    assert "replicas\t<integer>" in text(tools, "explain deployment.spec")
    assert text(tools, "explain deploy.spec.replicas").endswith("FIELD: replicas <integer>\n")
    assert text(tools, "auth can-i patch deploy") == "yes"
    assert text(tools, "auth can-i patch deploy -n kube-system") == "no"
    assert "oncall" in text(tools, "auth whoami")
    assert text(shop("diagnosis")[1], "auth can-i patch deploy") == "no"


def test_commands_run_in_the_container_of_choice() -> None:
    env, tools = shop()
    add_pod(env, "web-1", "web")
    env.kube.answer = ExecResult("out\n", "err\n", 3)
    seen = text(tools, "exec web-1 -c web -- sh -c 'a | b'")
    assert seen == "out\nerr\ncommand terminated with exit code 3"
    assert env.kube.commands == [["sh", "-c", "a | b"]]
    assert "container nope is not valid" in refusal(tools, "exec web-1 -c nope -- ls")
    assert "no interactive shell" in refusal(tools, "exec -it web-1 -- bash")


# -- rights and record ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "effect"),
    [
        ("get pods", "read"), ("rollout status deploy/web", "read"), ("exec p -- env", "read"),
        ("set env deploy/web --list", "read"), ("exec p -- kill 1", "write"),
        ("exec p -- sh -c 'env > /tmp/x'", "write"), ("rollout undo deploy/web", "write"),
        ("apply -f -", "write"), ("cordon node-a", "write"), ("nonsense", "read"),
        ("-n shop delete pod x", "write"), ("label deploy web a=b --dry-run=server", "write"),
    ],
)  # fmt: skip
def test_the_effect_is_judged_by_the_arguments_and_so_is_the_cost(line: str, effect: str) -> None:
    tool = TOOLS["kubectl"]
    args = tool.args.read({"args": shlex.split(line)})
    assert tool.effect_for(args) == effect
    assert tool.cost_s(args) == (5.0 if effect == "write" else 2.0)


def test_only_mitigation_changes_anything() -> None:
    for task in ("detection", "localization", "diagnosis"):
        env, tools = shop(task)
        for line in ("scale deploy/web --replicas=0", "exec web-1 -- kill 1", "delete deploy web"):
            assert "this task is read-only" in refusal(tools, line)
        assert current(env)["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("line", "stdin"),
    [
        ("delete pod x -n kube-system", ""), ("scale deploy/x -n kube-system --replicas=1", ""),
        ("cordon node-a", ""), ("drain node-a", ""), ("delete node node-a", ""),
        ("label namespace shop a=b", ""), ("exec x -n kube-system -- ls", ""),
        ("apply -f -", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: other}}"),
        ("create -f -", "{apiVersion: v1, kind: Namespace, metadata: {name: a}}"),
    ],
)  # fmt: skip
def test_nothing_outside_the_namespace_is_changed(line: str, stdin: str) -> None:
    _, tools = shop()
    seen = refusal(tools, line, stdin)
    assert "is forbidden" in seen
    assert 'User "oncall" cannot' in seen


def test_a_write_leaves_the_object_before_and_after_in_the_record() -> None:
    steps: list[Step] = []
    _, tools = shop(record=steps.append)
    text(tools, "scale deploy/web --replicas=5")
    assert steps[0].effect == "write"
    assert steps[0].before["spec"]["replicas"] == 2
    assert steps[0].after["spec"]["replicas"] == 5
    text(tools, "delete deploy web")
    assert steps[1].before["metadata"]["name"] == "web"
    assert steps[1].after is None


# -- changing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["jsonpath={.spec", "nosuch", "custom-columns=", "jsonpath={.a.b}"]
)
def test_a_write_is_in_the_record_though_its_output_cannot_be_printed(form: str) -> None:
    steps: list[Step] = []
    env, tools = shop(record=steps.append)
    run(tools, f"scale deploy web --replicas=1 -o {form}")
    assert current(env)["spec"]["replicas"] == 1
    assert (steps[0].ok, steps[0].after["spec"]["replicas"]) == (True, 1)


def test_what_was_deleted_before_a_refusal_is_in_the_record(monkeypatch: Any) -> None:
    steps: list[Step] = []
    env, tools = shop(record=steps.append)
    env.kube.add(deployment("api"))
    delete = env.kube.delete

    async def refusing(kind: str, name: str, *rest: Any, **how: Any) -> Any:
        if name == "web":
            raise KubeError(403, "Forbidden", "an admission webhook denied the request")
        return await delete(kind, name, *rest, **how)

    monkeypatch.setattr(env.kube, "delete", refusing)
    seen = run(tools, "delete deployment/api deployment/web")
    assert "admission webhook denied" in seen.text
    assert steps[0].ok
    assert steps[0].before["metadata"]["name"] == "api"
    assert not run(tools, "delete deployment/web").ok


def test_workloads_are_changed_as_kubectl_does() -> None:
    env, tools = shop()
    assert (
        text(tools, "set image deploy/web web=shop-web:1.1.0")
        == "deployment.apps/web image updated"
    )
    assert text(tools, "set env deploy/web A=1=2 MODE-") == "deployment.apps/web env updated"
    assert "resource requirements" in text(tools, "set resources deploy web --limits=cpu=1")
    assert (
        text(tools, "patch deploy web -p '{spec: {replicas: 3}}'") == "deployment.apps/web patched"
    )
    assert "(no change)" in text(tools, "patch deploy web -p '{spec: {replicas: 3}}'")
    json_patch = '[{"op": "replace", "path": "/spec/replicas", "value": 4}]'
    assert text(tools, f"patch deploy web --type=json -p '{json_patch}'").endswith("patched")
    spec = current(env)["spec"]
    container = spec["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "A", "value": "1=2"}]
    assert container["image"] == "shop-web:1.1.0"
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "128Mi"}
    assert spec["replicas"] == 4


def test_labels_and_annotations_are_set_kept_and_removed() -> None:
    env, tools = shop()
    assert text(tools, "label deploy web a=1 b=2").endswith("labeled")
    assert "already has a value (1)" in refusal(tools, "label deploy web a=3")
    assert text(tools, "label deploy web a=3 --overwrite").endswith("labeled")
    assert text(tools, "label deploy web a=3").endswith("not labeled")
    assert text(tools, "label deploy web b-").endswith("unlabeled")
    assert text(tools, "annotate deploy --all x.io/note='some words'").endswith("annotated")
    metadata = current(env)["metadata"]
    assert metadata["labels"] == {"a": "3"}
    assert metadata["annotations"]["x.io/note"] == "some words"
    assert text(tools, "label deploy web --list") == "a=3"


def test_apply_merges_and_takes_away_what_it_applied_before() -> None:
    env, tools = shop()
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
    assert text(tools, "apply -f -", head + "data: {a: '1', b: '2'}") == "configmap/c created"
    text(tools, "patch cm c -p '{data: {own: x}}'")
    assert text(tools, "apply -f -", head + "data: {b: '2'}") == "configmap/c configured"
    assert current(env, "ConfigMap", "c")["data"] == {"b": "2", "own": "x"}
    assert text(tools, "apply -f -", head + "data: {b: '2'}") == "configmap/c unchanged"
    assert "(server dry run)" in text(tools, "apply -f - --dry-run=server", head + "data: {}")
    assert current(env, "ConfigMap", "c")["data"] == {"b": "2", "own": "x"}


def test_apply_takes_items_of_lists_away_by_their_key() -> None:
    env, tools = shop()
    manifest = deployment("api")
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["env"] += [{"name": "EXTRA", "value": "1"}]
    text(tools, "apply -f -", json.dumps(manifest))
    text(tools, "set env deploy/api OWN=x")
    container["env"].pop()
    assert text(tools, "apply -f -", json.dumps(manifest)) == "deployment.apps/api configured"
    env_ = current(env, name="api")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert sorted(e["name"] for e in env_) == ["MODE", "OWN"]


def test_objects_that_were_not_applied_are_merged_with_a_warning() -> None:
    env, tools = shop()
    part = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": 7}}  # fmt: skip
    seen = text(tools, "apply -f -", json.dumps(part))
    assert seen.startswith("Warning: resource deployments/web is missing")
    assert current(env)["spec"]["replicas"] == 7
    assert current(env)["spec"]["template"]["spec"]["containers"][0]["image"] == "shop-web:1.0.0"


def test_the_server_applies_and_tells_who_else_owns_a_field() -> None:
    env, tools = shop()
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
    line = "apply -f - --server-side"
    assert text(tools, line, head + "data: {a: '1', b: '2'}") == "configmap/c serverside-applied"
    text(tools, f"{line} --field-manager=other --force-conflicts", head + "data: {a: '9'}")
    refused = refusal(tools, line, head + "data: {a: '1'}")
    assert 'Apply failed with 1 conflict: conflict with "other": .data.a' in refused
    assert "re-run the apply\n  command with the `--force-conflicts` flag" in refused
    text(tools, f"{line} --force-conflicts", head + "data: {a: '1'}")
    assert current(env, "ConfigMap", "c")["data"] == {"a": "1"}
    assert "only works with --server-side" in refusal(tools, "apply -f - --force-conflicts", head)


def test_a_manifest_that_is_refused_in_part_changes_nothing() -> None:
    env, tools = shop()
    good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\n"
    bad = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: -1}\n"
    assert "Invalid" in refusal(tools, "apply -f -", good + bad)
    assert env.kube.api.find("ConfigMap", "c", "shop") is None
    for text_ in ("", "just text", "[]", "kind: x"):
        assert refusal(tools, "apply -f -", text_).startswith(("error: ", "the manifest"))


def test_objects_are_created_replaced_and_deleted() -> None:
    env, tools = shop()
    assert text(tools, "create cm c --from-literal=a=1") == "configmap/c created"
    assert 'configmaps "c" already exists' in refusal(tools, "create configmap c")
    text(tools, "create secret generic s --from-literal=p=w")
    assert current(env, "Secret", "s")["data"] == {"p": "dw=="}
    whole = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {b: '2'}}"
    assert 'error when creating "STDIN"' in refusal(tools, "create -f -", whole)
    assert text(tools, "replace -f -", whole) == "configmap/c replaced"
    assert current(env, "ConfigMap", "c")["data"] == {"b": "2"}
    assert text(tools, "delete cm c --dry-run=client") == 'configmap "c" deleted (dry run)'
    assert text(tools, "delete -f -", whole) == 'configmap "c" deleted'
    assert text(tools, "delete cm c --ignore-not-found") == "No resources found"
    assert "no name was specified" in refusal(tools, "delete deploy")
    assert text(tools, "delete deploy --all") == 'deployment.apps "web" deleted'


def test_nothing_is_deleted_when_one_of_several_is_not_there() -> None:
    env, tools = shop()
    assert 'deployments.apps "nope" not found' in refusal(tools, "delete deploy web nope")
    assert current(env)


def test_rollouts_are_paused_restarted_and_looked_at() -> None:
    env, tools = shop()
    assert text(tools, "rollout restart deploy/web") == "deployment.apps/web restarted"
    assert text(tools, "rollout pause deploy/web") == "deployment.apps/web paused"
    assert "is already paused" in refusal(tools, "rollout pause deploy/web")
    assert "can't restart paused" in refusal(tools, "rollout restart deploy/web")
    assert text(tools, "rollout resume deploy/web") == "deployment.apps/web resumed"
    assert "spec update to be observed" in text(tools, "rollout status deploy/web")
    assert "No rollout history found" in text(tools, "rollout history deploy/web")
    assert 'no rollout history found for deployment "web"' in refusal(
        tools, "rollout undo deploy/web"
    )
    notes = current(env)["spec"]["template"]["metadata"]["annotations"]
    assert "kubectl.kubernetes.io/restartedAt" in notes
