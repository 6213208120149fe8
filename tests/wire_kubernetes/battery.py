"""What kubectl is made to do against the API: commands, exit codes, and the shape of their output.

A table in the order of running: later commands build on earlier ones. ``docs/kubernetes.md`` lists
the same commands; a test compares. Not here: running them (``test_kubectl_battery``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Who = Literal["", "oncall", "viewer"]
"""Whose token is used; empty is the lab's owner."""

GONE = r"deleted( from hotel namespace)?$"
"""How kubectl says that something was deleted; from 1.34 on it names the namespace, too."""
AGE = r"\d+[smhdy](\d+[smhdy])?"


@dataclass(frozen=True, slots=True)
class Command:
    """One command line and what must come of it."""

    line: str
    code: int = 0
    head: str = ""
    """The columns of the first line, separated by two spaces or more."""
    out: tuple[str, ...] = ()
    """Regular expressions, each found in some line of the output."""
    err: tuple[str, ...] = ()
    """The same for the error output."""
    json: dict[str, Any] = field(default_factory=dict)
    """Values by dotted path of the output read as JSON."""
    stdin: str = ""
    who: Who = ""
    lines: int | None = None
    """Number of lines of the output."""


def ok(line: str, *out: str, **more: Any) -> Command:
    return Command(line, out=out, **more)


def bad(line: str, *err: str, code: int = 1, **more: Any) -> Command:
    return Command(line, code=code, err=err, **more)


CACHE = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cache, labels: {app: cache}}
spec:
  replicas: 2
  selector: {matchLabels: {app: cache}}
  template:
    metadata: {labels: {app: cache}}
    spec:
      containers:
      - name: valkey
        image: valkey:8.1.1
        ports: [{name: redis, containerPort: 6379}]
        env: [{name: LEVEL, value: low}]
        resources: {requests: {cpu: 10m, memory: 16Mi}}
"""
MORE = CACHE.replace("replicas: 2", "replicas: 3")
TYPO = CACHE.replace("replicas: 2", "replicaz: 2")
WRONG_TYPE = CACHE.replace("replicas: 2", "replicas: many")
QUANTITY = CACHE.replace("16Mi", "16Mib")
SELECTOR = CACHE.replace("matchLabels: {app: cache}", "matchLabels: {app: other}").replace(
    "metadata: {labels: {app: cache}}", "metadata: {labels: {app: other}}"
)
MISMATCH = CACHE.replace("name: cache", "name: mis").replace(
    "matchLabels: {app: cache}", "matchLabels: {app: other}"
)
BAD_NAME = CACHE.replace("name: cache", "name: Bad_Name")
SHARED = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: shared}
data: {color: blue, size: large}
"""
RED = SHARED.replace("blue", "red")
BUDGET = """\
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: cache}
spec: {minAvailable: 100%, selector: {matchLabels: {app: cache}}}
"""
QUIET = """\
apiVersion: v1
kind: Namespace
metadata: {name: quiet}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: inside, namespace: quiet}
data: {a: "1"}
"""
DOUBLE = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d"},"data":{"a":"1","a":"2"}}'
STALE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: shared, resourceVersion: "1"}
data: {color: green}
"""

LOOKING = [
    ok("version", r"^Client Version: v1\.", r"^Server Version: v1\.34\."),
    ok("cluster-info", r"^Kubernetes control plane is running at https://127\.0\.0\.1:\d+"),
    ok("get --raw /healthz", r"^ok$"),
    ok("get --raw /readyz?verbose", r"readyz check passed"),
    ok(
        "api-resources",
        r"^pods\s+po\s+v1\s+true\s+Pod$",
        r"^deployments\s+deploy\s+apps/v1\s+true\s+Deployment$",
        r"^horizontalpodautoscalers\s+hpa\s+autoscaling/v2\s+true\s+HorizontalPodAutoscaler$",
        head="NAME SHORTNAMES APIVERSION NAMESPACED KIND",
    ),
    ok("api-resources --namespaced=false -o name", r"^nodes$", r"^namespaces$"),
    ok("api-versions", r"^apps/v1$", r"^autoscaling/v1$", r"^v1$"),
    ok("explain deployment.spec.strategy", r"^KIND:\s+Deployment$", r"rollingUpdate\s+<"),
    ok("explain pods --recursive", r"containers\s+<\[\]Container> -required-"),
    ok("explain hpa --api-version=autoscaling/v1", r"^VERSION:\s+v1$"),
    bad("explain pod.spec.nothing", r'field "nothing" does not exist'),
    ok(
        "get pods",
        rf"^frontend-\S+\s+1/1\s+Running\s+0\s+{AGE}$",
        head="NAME READY STATUS RESTARTS AGE",
    ),
    ok(
        "get pods -A -o wide",
        r"^hotel\s+geo-\S+\s+1/1\s+Running\s+0\s+\S+\s+198\.19\.\S+\s+node-\w\s+<none>\s+<none>$",
        head="NAMESPACE NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
    ),
    ok(
        "get deploy geo -o wide",
        r"^geo\s+2/2\s+2\s+2\s+\S+\s+geo\s+hotel-geo:\S+\s+app\.kubernetes\.io/name=geo$",
        head="NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR",
        lines=2,
    ),
    ok(
        "get all",
        r"^pod/geo-",
        r"^service/geo ",
        r"^deployment\.apps/geo ",
        r"^replicaset\.apps/geo-",
        r"^statefulset\.apps/geo-postgres ",
        r"^horizontalpodautoscaler\.autoscaling/recommendation ",
    ),
    ok(
        "get svc,endpoints,endpointslices",
        r"^service/geo\s+ClusterIP\s+198\.18\.\S+\s+<none>\s+8080/TCP",
        r"^endpoints/geo\s+198\.19\.\S+:8080",
        r"^endpointslice\.discovery\.k8s\.io/geo-\S+\s+IPv4\s+8080",
        err=(r"^Warning: v1 Endpoints is deprecated in v1\.33\+",),
    ),
    ok(
        "get nodes -o wide",
        r"^node-a\s+Ready\s+<none>\s+\S+\s+v1\.34\.\S+\s+198\.18\.240\.",
        head="NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION "
        "CONTAINER-RUNTIME",
    ),
    ok("get namespaces", r"^hotel\s+Active", r"^kube-system\s+Active", head="NAME STATUS AGE"),
    ok("get cm,secret,sa", r"^configmap/geo-config\s+\d+", r"^secret/\S+\s+Opaque\s+\d+"),
    ok("get pvc,pv", r"^persistentvolumeclaim/data-\S+\s+Bound\s+pvc-", r"^persistentvolume/pvc-"),
    ok("get leases -n kube-node-lease", r"^node-a\s+node-a", head="NAME HOLDER AGE"),
    ok(
        "get hpa",
        r"^recommendation\s+Deployment/recommendation\s+cpu: \d+%/\d+%\s+2\s+5\s+\d+",
        head="NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE",
    ),
    ok("get deploy geo -o json", json={"kind": "Deployment", "status.readyReplicas": 2}),
    ok("get deploy geo -o yaml", r"^kind: Deployment$", r"^  name: geo$"),
    ok("get deploy geo -o jsonpath={.spec.replicas}", r"^2$"),
    ok(
        "get pods -l app.kubernetes.io/name=geo "
        "-o custom-columns=POD:.metadata.name,IMAGE:.spec.containers[0].image",
        r"^geo-\S+\s+hotel-geo:",
        head="POD IMAGE",
        lines=3,
    ),
    ok("get pods -l app.kubernetes.io/name=geo -o name", r"^pod/geo-", lines=2),
    ok("get pods --field-selector=status.phase=Running -o name", r"^pod/frontend-"),
    ok("get pods --show-labels", head="NAME READY STATUS RESTARTS AGE LABELS"),
    ok("get pods -L app.kubernetes.io/name", head="NAME READY STATUS RESTARTS AGE NAME"),
    ok("get pods --sort-by=.metadata.name --no-headers", r"^attractions-"),
    ok("get pods --chunk-size=7 -o name", r"^pod/user-"),
    ok(
        "get --raw /api/v1/namespaces/hotel/pods?limit=2",
        json={"kind": "PodList", "metadata.remainingItemCount": int, "metadata.continue": str},
    ),
    ok("get events --field-selector=type=Normal", head="LAST SEEN TYPE REASON OBJECT MESSAGE"),
    ok("get events.events.k8s.io", r"\bScheduled\b", head="LAST SEEN TYPE REASON OBJECT MESSAGE"),
    ok(
        "events --for deployment/geo",
        r"ScalingReplicaSet",
        head="LAST SEEN TYPE REASON OBJECT MESSAGE",
    ),
    ok("get clusterroles", r"^cluster-admin\s+20\d\d-", head="NAME CREATED AT"),
    ok(
        "describe deployment geo", r"^Replicas:\s+2 desired \| 2 updated", r"^NewReplicaSet:\s+geo-"
    ),
    ok(
        "describe pods -l app.kubernetes.io/name=geo --show-events",
        r"^Status:\s+Running$",
        r"^Controlled By:\s+ReplicaSet/geo-",
        r"Normal\s+Scheduled\s+",
    ),
    ok("describe service geo", r"^Endpoints:\s+198\.19\.\S+:8080", r"^Selector:\s+app"),
    ok("describe node node-a", r"^  HolderIdentity:\s+node-a$", r"^Non-terminated Pods:"),
    ok("describe hpa recommendation", r"^Reference:\s+Deployment/recommendation$"),
    ok("describe configmap geo-config", r"^DB_HOST:$"),
    bad("get podz", r"""the server doesn't have a resource type "podz\""""),
    bad("get deploy nope", r'^Error from server \(NotFound\): deployments\.apps "nope" not found$'),
    ok("get deploy nope --ignore-not-found", lines=0),
    ok(
        "get jobs -n kube-public",
        err=(r"^No resources found in kube-public namespace\.$",),
        lines=0,
    ),
    bad("get pods --field-selector=spec.paint=red", r"field label not supported: spec\.paint"),
    bad("get pods -l a=(b", r"(unable to parse|found '\(')"),
]

USAGE = [
    ok("top nodes", r"^node-a\s+\d+m\s+\d+%\s+\d+Mi\s+\d+%", lines=4),
    ok("top pods", r"^geo-\S+\s+\d+m\s+\d+Mi", head="NAME CPU(cores) MEMORY(bytes)"),
    ok(
        "top pods --containers -l app.kubernetes.io/name=geo",
        r"^geo-\S+\s+geo\s+\d+m\s+\d+Mi",
        head="POD NAME CPU(cores) MEMORY(bytes)",
        lines=3,
    ),
]

STREAMS = [
    ok("logs deploy/geo --tail=2", r'"logger":"geo"', lines=2),
    ok("logs deploy/geo --tail=1 --timestamps", r"^20\d\d-\d\d-\d\dT\S+Z \{"),
    ok("logs -l app.kubernetes.io/name=geo --tail=1 --prefix", r"^\[pod/geo-\S+/geo\] \{", lines=2),
    bad("logs deploy/geo --previous", r'previous terminated container "geo" in pod "geo-\S+" not'),
    ok("exec deploy/geo -- hostname", r"^geo-"),
    bad("exec deploy/geo -- sh -c 'exit 3'", r"exit code 3", code=3),
    bad("exec deploy/geo -- nothing-such", r"executable file not found"),
]

RIGHTS = [
    ok("auth whoami", r"^Username\s+oncall$", head="ATTRIBUTE VALUE", who="oncall"),
    ok("auth can-i patch deployments.apps", r"^yes$", who="oncall"),
    Command("auth can-i patch deployments.apps", 1, out=(r"^no$",), who="viewer"),
    Command("auth can-i delete nodes", 1, out=(r"^no$",), who="oncall"),
    ok("auth can-i get pods --subresource=log", r"^yes$", who="viewer"),
    ok("auth can-i --list", r"\[get list watch\]", who="viewer"),
    ok("get pods -A -o name", r"^pod/geo-", who="viewer"),
    bad(
        "scale deploy/geo --replicas=3",
        r'^Error from server \(Forbidden\): deployments\.apps "geo" is forbidden: User "viewer" '
        r'cannot patch resource "deployments/scale" in API group "apps" in the namespace "hotel"$',
        who="viewer",
    ),
    bad("delete ns hotel", r'namespaces "hotel" is forbidden: User "oncall"', who="oncall"),
    # kubectl says so and ends with 0.
    ok("cordon node-a", err=(r'nodes "node-a" is forbidden: User "oncall"',), who="oncall"),
]

MAKING = [
    ok("apply -f -", r"^deployment\.apps/cache created$", stdin=CACHE),
    ok("apply -f -", r"^deployment\.apps/cache unchanged$", stdin=CACHE),
    ok("rollout status deploy/cache --timeout=60s", r"successfully rolled out$"),
    Command(
        "diff -f -", 1, out=(r"^-  replicas: 2$", r"^\+  replicas: 3$"), stdin=MORE
    ),
    ok("apply -f - --dry-run=server", r"configured \(server dry run\)$", stdin=MORE),
    ok("apply -f -", r"^deployment\.apps/cache configured$", stdin=MORE),
    ok("wait --for=jsonpath={.status.readyReplicas}=3 deploy/cache --timeout=60s", r" met$"),
    ok("wait --for=condition=Available deploy/cache --timeout=30s", r"condition met$"),
    bad("wait --for=condition=Nothing deploy/cache --timeout=1s", r"timed out waiting"),
    ok("get deploy cache -w --request-timeout=1s", r"^cache\s+3/3"),
    bad("apply -f -", r'strict decoding error: unknown field "spec\.replicaz"$', stdin=TYPO),
    bad(
        "apply -f -",
        r"json: cannot unmarshal string into Go struct field DeploymentSpec\.spec\.replicas of "
        r"type int32$",
        stdin=WRONG_TYPE,
    ),
    bad("apply -f -", r"quantities must match the regular expression", stdin=QUANTITY),
    bad(
        "apply -f -",
        r'^The Deployment "cache" is invalid: spec\.selector: Invalid value: .*field is immutable$',
        stdin=SELECTOR,
    ),
    bad(
        "apply -f -",
        r'^The Deployment "mis" is invalid: spec\.template\.metadata\.labels: Invalid value: '
        r".*`selector` does not match template `labels`$",
        stdin=MISMATCH,
    ),
    bad(
        "apply -f -",
        r'^The Deployment "Bad_Name" is invalid: metadata\.name: Invalid value: "Bad_Name": a '
        r"lowercase RFC 1123 subdomain",
        stdin=BAD_NAME,
    ),
    bad(
        "create --raw /api/v1/namespaces/hotel/configmaps?fieldValidation=Strict -f -",
        r'duplicate field "data\.a"',
        stdin=DOUBLE,
    ),
    bad("create -f -", r'\(AlreadyExists\): .*apps "cache" already exists', stdin=CACHE),
    ok("expose deploy cache --port=6379", r"^service/cache exposed$"),
    ok("get svc cache", r"^cache\s+ClusterIP\s+198\.18\.\S+\s+<none>\s+6379/TCP"),
    ok("run box --image=valkey:8.1.1 --restart=Never", r"^pod/box created$"),
    ok("create configmap plain --from-literal=a=b", r"^configmap/plain created$"),
    ok("create secret generic word --from-literal=pass=x", r"^secret/word created$"),
    ok("get secret word -o jsonpath={.data.pass}", r"^eA==$"),
    ok("create deployment spare --image=valkey:8.1.1 --replicas=0", r"apps/spare created$"),
    ok("get deploy spare -o json", json={"spec.replicas": 0}),
    ok("create service clusterip bare --clusterip=None", r"^service/bare created$"),
    ok("create job once --image=valkey:8.1.1 -- valkey-cli ping", r"^job\.batch/once created$"),
    ok("create cronjob tick --image=valkey:8.1.1 --schedule='0 4 1 1 *' -- date", r"created$"),
    ok(
        "get cronjob tick",
        r"^tick\s+0 4 1 1 \*\s+<none>\s+False\s+0\s+<none>\s+",
        head="NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE",
    ),
    ok("create role reader --verb=get,list --resource=pods", r"created$"),
    ok("create rolebinding reader --role=reader --user=jo", r"created$"),
    ok("create quota room --hard=pods=100", r"^resourcequota/room created$"),
    ok("autoscale deploy/cache --min=2 --max=4 --cpu-percent=80", r"autoscaled$"),
    ok("get horizontalpodautoscalers.v1.autoscaling cache -o json",
       json={"apiVersion": "autoscaling/v1", "spec.targetCPUUtilizationPercentage": 80}),
    ok("delete hpa cache", rf'^horizontalpodautoscaler\.autoscaling "cache" {GONE}'),
]  # fmt: skip

CHANGING = [
    ok("scale deploy/cache --replicas=2", r"^deployment\.apps/cache scaled$"),
    bad("scale deploy/cache --replicas=1 --current-replicas=7", r"[Ee]xpected replicas to be 7"),
    ok("set image deploy/cache valkey=valkey:8.1.1", lines=0),
    ok("set env deploy/cache LEVEL=high EXTRA=1", r"^deployment\.apps/cache env updated$"),
    ok("rollout status deploy/cache --timeout=60s", r"successfully rolled out$"),
    ok("rollout history deploy/cache", r"^1\s+<none>$", r"^2\s+<none>$"),
    ok("rollout history deploy/cache --revision=2", r"^\s+LEVEL:\s+high$"),
    ok("set resources deploy/cache --limits=cpu=200m,memory=64Mi", r"requirements updated$"),
    ok("rollout pause deploy/cache", r"^deployment\.apps/cache paused$"),
    bad("rollout pause deploy/cache", r"deployments\.apps \"cache\" is already paused"),
    ok("rollout resume deploy/cache", r"^deployment\.apps/cache resumed$"),
    ok("rollout restart deploy/cache", r"^deployment\.apps/cache restarted$"),
    ok("rollout status deploy/cache --timeout=60s", r"successfully rolled out$"),
    ok("rollout undo deploy/cache --to-revision=1", r"^deployment\.apps/cache rolled back$"),
    ok("rollout status deploy/cache --timeout=60s", r"successfully rolled out$"),
    ok("get deploy cache -o jsonpath={.spec.template.spec.containers[0].env}",
       r'^\[\{"name":"LEVEL","value":"low"\}\]$'),
    ok("""patch deploy cache -p '{"spec":{"minReadySeconds":1}}'""", r"patched$"),
    ok("""patch deploy cache --type=merge -p '{"spec":{"minReadySeconds":1}}'""", r"no change"),
    ok("""patch deploy cache --type=json -p '[{"op":"remove","path":"/spec/minReadySeconds"}]'""",
       r"patched$"),
    bad("""patch deploy cache --type=json -p '[{"op":"test","path":"/kind","value":"x"}]'""",
        r"^The request is invalid: the server rejected our request due to an error in our"),
    bad("""patch deploy cache -p '{"spec":{"template":{"spec":{"containers":[{"image":"q"}]}}}}'""",
        r"does not contain declared merge key: name"),
    ok("""patch deploy cache -p '{"spec":{"replicaz":1}}'""", r"patched \(no change\)$",
       err=(r'^Warning: unknown field "spec\.replicaz"$',)),
    ok("""patch deploy cache --subresource=scale --type=merge -p '{"spec":{"replicas":2}}'""",
       r"patched"),
    ok("label deploy cache tier=fast", r"^deployment\.apps/cache labeled$"),
    bad("label deploy cache tier=slow", r"already has a value \(fast\), and --overwrite is false"),
    ok("label deploy cache tier-", r"^deployment\.apps/cache unlabeled$"),
    ok("annotate deploy cache note=x", r"^deployment\.apps/cache annotated$"),
    ok("replace -f -", r"^deployment\.apps/cache replaced$", stdin=CACHE),
    ok("edit deploy/cache", err=(r"^Edit cancelled, no changes made\.$",)),
]  # fmt: skip

APPLYING = [
    ok("apply --server-side -f -", r"^configmap/shared serverside-applied$", stdin=SHARED),
    ok("apply --server-side -f -", r"^configmap/shared serverside-applied$", stdin=SHARED),
    bad(
        "apply --server-side --field-manager=other -f -",
        r'Apply failed with 1 conflict: conflict with "kubectl": \.data\.color$',
        stdin=RED,
    ),
    ok(
        "apply --server-side --field-manager=other --force-conflicts -f -",
        r"^configmap/shared serverside-applied$",
        stdin=RED,
    ),
    ok(
        "get cm shared -o json --show-managed-fields",
        json={"data.color": "red", "metadata.managedFields.0.operation": "Apply"},
    ),
    bad("replace -f -", r"\(Conflict\): .*the object has been modified", stdin=STALE),
    ok("apply --server-side --dry-run=server -f -", r"\(server dry run\)$", stdin=RED),
    ok("apply --server-side --force-conflicts -f -", r"serverside-applied$", stdin=CACHE),
    ok("scale deploy/cache --replicas=3", r"scaled$"),
    bad(
        "apply --server-side -f -",
        r'conflict with "kubectl" with subresource "scale" using apps/v1: \.spec\.replicas$',
        stdin=CACHE,
    ),
    ok("delete cm shared --dry-run=server", r"deleted( from hotel namespace)? \(server dry run\)$"),
    ok("get cm shared -o name", r"^configmap/shared$"),
]  # fmt: skip

NODES = [
    ok("cordon node-a", r"^node/node-a cordoned$"),
    ok("get node node-a", r"^node-a\s+Ready,SchedulingDisabled\s"),
    ok("uncordon node-a", r"^node/node-a uncordoned$"),
    ok("taint nodes node-a dedicated=x:NoSchedule", r"^node/node-a tainted$"),
    ok("taint nodes node-a dedicated-", r"^node/node-a untainted$"),
    ok("apply -f -", r"^poddisruptionbudget\.policy/cache created$", stdin=BUDGET),
    ok("get pdb cache", r"^cache\s+100%\s+N/A\s+0\s",
       head="NAME MIN AVAILABLE MAX UNAVAILABLE ALLOWED DISRUPTIONS AGE"),
    bad(
        "drain node-b --pod-selector=app=cache --timeout=2s",
        r"(Cannot evict pod as it would violate the pod's disruption budget|global timeout)",
    ),
    ok("delete pdb cache", GONE),
    ok(
        "drain node-b --pod-selector=app=cache --timeout=60s --force",
        r"^node/node-b (drained|evicted)",
    ),
    ok("uncordon node-b", r"^node/node-b uncordoned$"),
]  # fmt: skip

REMOVING = [
    ok("delete pod box --grace-period=0 --force", rf'^pod "box" force {GONE}'),
    bad("delete pod box", r'\(NotFound\): pods "box" not found'),
    ok("delete pod box --ignore-not-found", lines=0),
    ok("delete job once --cascade=foreground", rf'^job\.batch "once" {GONE}'),
    ok("delete cronjob tick", GONE),
    ok("delete cm,secret plain word --ignore-not-found", rf'^configmap "plain" {GONE}'),
    ok("delete svc cache bare", rf'^service "bare" {GONE}'),
    ok("delete deploy spare --cascade=orphan", rf'^deployment\.apps "spare" {GONE}'),
    ok("delete -f -", rf'^deployment\.apps "cache" {GONE}', stdin=CACHE),
    ok("wait --for=delete pod -l app=cache --timeout=60s"),
    ok("delete role,rolebinding,quota --all", rf'^resourcequota "room" {GONE}'),
    ok("create -f -", r"^namespace/quiet created$", r"^configmap/inside created$", stdin=QUIET),
    ok("delete ns quiet --timeout=30s", r'^namespace "quiet" deleted$'),
    bad("get cm inside -n quiet", r"\(NotFound\)"),
]

REFUSED = [
    bad("debug deploy/geo --image=busybox", r"."),
    bad("cp hotel/geo-postgres-0:/etc/hosts -", r"."),
    bad("get crd", r"the server doesn't have a resource type"),
    bad("create token default", r"."),
]

TOPICS: dict[str, list[Command]] = {
    "Looking": LOOKING,
    "Usage": USAGE,
    "Logs and exec": STREAMS,
    "Rights": RIGHTS,
    "Making": MAKING,
    "Changing": CHANGING,
    "Server-side apply": APPLYING,
    "Nodes": NODES,
    "Removing": REMOVING,
    "Refused": REFUSED,
}
