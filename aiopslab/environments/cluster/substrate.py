"""The Environment's ``Substrate`` on a real cluster: what of it a cluster lets be done.

What it needs of others on the cluster, all in the lab's namespace:

* The observer (Service ``observer``, port 9090), controlled below ``/e/<token>/``: ``POST changes``
  (a ``models.signal.Change``), ``POST posts`` (a ``StatusPost``), ``PUT config`` (a sealed text as
  a JSON string), which it tells everybody who asks ``GET /v1/config`` on its port for telemetry,
  4318 (``wire.board``). ``open`` puts the first text, so that there is always one.
* Partners (pods labelled ``app.kubernetes.io/name=partner-<name>``) read how they misbehave from
  ``DISTURBANCE``, written here by a command in their container.
* The lab's image, whose ``/venv/bin/python`` has this package (``cluster.errands``).

Loss, delay and cuts are made by the app's programs where they dial (``services.real.links``). What
only a simulated machine lets be done raises ``InfraError``; no fault that needs it says that it
exists on a cluster (``models.support``).
"""

from __future__ import annotations

import asyncio
import posixpath
import shlex
from collections.abc import Callable, Iterable, Mapping

from pydantic import ValidationError

from aiopslab.environments.cluster.connection import Request
from aiopslab.environments.cluster.errands import Errands, LabPlace
from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.operator import Dial, StoreOperator
from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.models.external import Disturbance
from aiopslab.models.kube import ExecResult, KubeError
from aiopslab.models.network import NEUTRAL, Links, Shape, combined
from aiopslab.models.signal import Change, StatusPost
from aiopslab.services.partners import maintenance
from aiopslab.services.real import sealed
from aiopslab.services.real.orders import EVERY_S
from aiopslab.world.kube import quantity
from aiopslab.world.kube.objects import labels_of, name_of

DISTURBANCE = "/run/partner/disturbance.json"
"""Where a partner's container looks at how it misbehaves."""
_OBSERVER = "observer:9090"
_NAME = "app.kubernetes.io/name"
_ZONE = "topology.kubernetes.io/zone"
_KNOWN_S = EVERY_S + 1.0
"""After which every process knows what was told."""
_SHARED = 1.5
"""A volume so many times as large as its claim is not its own: it is the machine's disk."""
_FULL = "No space left on device"


class ClusterSubstrate:
    """What lies below Kubernetes, as far as a cluster lets it be changed.

    Args:
        kube: The cluster, as the lab; no recorder hears of what is done.
        app: The app, as it is called on the cluster.
        lab: What there is of the lab.
        dial: The way to ports of the app's pods.
        now: Unix seconds.
    """

    def __init__(
        self, kube: ClusterKube, app: App, lab: LabPlace, dial: Dial, now: Callable[[], float]
    ) -> None:
        self._now = now
        self._kube = kube
        self._app = app
        self._lab = lab
        self._errands = Errands(kube, lab)
        self._stores = StoreOperator(kube, app, dial)
        self._shaped: dict[tuple[str, ...], Links] = {}
        """What is not as usual, by what it was asked for."""

    async def open(self) -> None:
        """Tell the app's processes that all is as usual; once the observer is there."""
        await self._observer("PUT", "config", sealed.seal(self._app.name, Links()))

    # -- ways -------------------------------------------------------------------------------------

    async def link(
        self,
        source: str,
        target: str,
        *,
        delay_s: float = 0.0,
        loss: float = 0.0,
        cut: bool = False,
    ) -> None:
        shape = Shape(delay_s=delay_s, loss=loss, cut=cut)
        await self._shape(("link", source, target), Links(pairs={source: {target: shape}}), shape)

    async def pod_path(self, pod: str, *, delay_s: float = 0.0, loss: float = 0.0) -> None:
        shape = Shape(delay_s=delay_s, loss=loss)
        await self._shape(("pod", pod), Links(pods={pod: shape}), shape)

    async def uplink(self, node: str, *, delay_s: float = 0.0, loss: float = 0.0) -> None:
        """Shape what the pods that are on a node now send and get, on the node, too."""
        shape = Shape(delay_s=delay_s, loss=loss)
        await self._shape(("node", node), await self._around({node}, shape), shape)

    async def zone(self, zone: str, *, delay_s: float = 0.0, loss: float = 0.0) -> None:
        """Shape what the pods that are in a zone now send and get, in the zone, too."""
        shape = Shape(delay_s=delay_s, loss=loss)
        nodes = await self._kube.list("Node", labels=f"{_ZONE}={zone}")
        around = await self._around(set(map(name_of, nodes)), shape)
        await self._shape(("zone", zone), around, shape)

    async def _around(self, nodes: set[str], shape: Shape) -> Links:
        """Return the ways of the pods on nodes; those of a store are those of its clients to it."""
        pods: dict[str, Shape] = {}
        pairs: dict[str, dict[str, Shape]] = {}
        for pod in await self._kube.list("Pod", self._app.namespace):
            component = labels_of(pod).get(_NAME, "")
            if pod["spec"].get("nodeName") not in nodes:
                continue
            if component in self._app.services:
                pods[name_of(pod)] = shape
            for client in self._app.services if component in self._app.stores else ():
                pairs.setdefault(client, {})[component] = shape
                pairs.setdefault(component, {})[client] = shape
        return Links(pairs=pairs, pods=pods)

    async def _shape(self, key: tuple[str, ...], links: Links, shape: Shape) -> None:
        """Tell the app's processes, and wait until they know."""
        if shape == NEUTRAL:
            self._shaped.pop(key, None)
        else:
            self._shaped[key] = links
        text = sealed.seal(self._app.name, _together(self._shaped.values()))
        await self._observer("PUT", "config", text)
        await asyncio.sleep(_KNOWN_S)

    # -- stores -----------------------------------------------------------------------------------

    async def store_admin(self, store: str, command: str) -> str:
        return await self._stores.run(store, command)

    async def terminal(self, store: str, sql: str, *, application: str = "psql") -> None:
        await self._stores.leave_open(store, sql, application)

    async def tool(
        self,
        store: str,
        *,
        application: str,
        user: str,
        password: str,
        address: str,
        sessions: int,
        again_s: float = 10.0,
    ) -> None:
        """Let a pod of the lab keep sessions; its address is its own, whatever is asked for."""
        spec = self._app.stores[store]
        login = {
            "host": f"{store}.{self._app.namespace}", "port": str(spec.port),
            "database": spec.database, "user": user, "password": password,
        }  # fmt: skip
        await self._errands.sessions(
            login, application=application, sessions=sessions, again_s=again_s
        )

    async def leave_file(self, claim: str, path: str, size: int) -> None:
        """Write into a volume that has a size of its own.

        Raises:
            InfraError: Nobody has it mounted, or it is a folder of the machine's disk.
        """
        pod, container, mount = await self._mounting(claim)
        file = posixpath.join(mount, path)
        await self._own_size(claim, pod, container, mount)
        script = f"rm -f {shlex.quote(file)}"
        if size:
            script = f"head -c {size} /dev/zero > {shlex.quote(file)}"
        done = await self._in_pod(pod, ["sh", "-c", script], container)
        if done.code and _FULL not in done.stderr:
            raise InfraError("inject", f"{claim}: {done.stderr.strip()}")

    async def _mounting(self, claim: str) -> tuple[str, str, str]:
        """Return a pod that has a claim mounted, the container, and where."""
        for pod in await self._kube.list("Pod", self._app.namespace):
            volumes = {
                volume["name"]
                for volume in pod["spec"].get("volumes") or ()
                if (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim
            }
            for container in pod["spec"]["containers"]:
                for mount in container.get("volumeMounts") or ():
                    if mount["name"] in volumes:
                        return name_of(pod), container["name"], mount["mountPath"]
        raise InfraError("inject", f"no pod has claim {claim!r} mounted")

    async def _own_size(self, claim: str, pod: str, container: str, mount: str) -> None:
        found = await self._kube.get("PersistentVolumeClaim", claim, self._app.namespace)
        asked = float(quantity.parse(found["spec"]["resources"]["requests"]["storage"]))
        done = await self._in_pod(pod, ["df", "-P", "-k", mount], container)
        blocks = done.stdout.splitlines()[-1].split()[1] if done.stdout else ""
        if not blocks.isdecimal():
            raise InfraError("inject", f"{claim}: df says {done.stdout or done.stderr!r}")
        if int(blocks) * 1024 > asked * _SHARED:
            raise InfraError("inject", f"{claim} is a folder of its machine's disk: not filled up")

    # -- pods and machines ------------------------------------------------------------------------

    async def suspend(self, pod: str, *, on: bool) -> None:
        found = await self._kube.get("Pod", pod, self._app.namespace)
        await self._errands.signal(found, "SIGSTOP" if on else "SIGCONT")

    async def neighbour(self, node: str, *, name: str, threads: float, memory: int = 0) -> None:
        await self._errands.tenant(node, name, threads, memory)

    async def power(self, node: str, *, on: bool) -> None:
        raise _impossible(f"switch {node!r} {'on' if on else 'off'}")

    async def hardware(self, node: str, condition: str, value: float | None) -> None:
        raise _impossible(f"set {condition!r} of {node!r} to {value}")

    async def host(
        self,
        node: str,
        *,
        cores: float | None = None,
        backed: int | None = None,
        unlimited: bool = True,
    ) -> None:
        raise _impossible(f"change what the host under {node!r} gives it")

    async def clock(self, node: str, *, ahead_s: float) -> None:
        raise _impossible(f"set the clock of {node!r} {ahead_s:g} s ahead")

    async def memory_stream(self, node: str, *, name: str, rate: float) -> None:
        raise _impossible(f"let another guest of the host under {node!r} use its memory bus")

    async def memory_held(self, node: str) -> int:
        raise _impossible(f"tell what memory the host under {node!r} backs")

    async def take_back(self, *, every_s: float) -> None:
        raise _impossible("take preemptible capacity back")

    async def bulk(self, node: str, *, name: str, rate: float) -> None:
        raise _impossible(f"fill the uplink of {node!r}")

    # -- parties outside and the change log -------------------------------------------------------

    async def partner(self, name: str, disturbance: Disturbance) -> None:
        if disturbance.moved:
            raise _impossible(f"let the name of {name!r} lead elsewhere")
        script = 'cat > "$0.new" && mv "$0.new" "$0"'
        text = disturbance.model_dump_json()
        await self._at_partner(name, ["sh", "-c", script, DISTURBANCE], text)

    async def disturbance(self, partner: str) -> Disturbance:
        script = 'if [ -f "$0" ]; then cat "$0"; fi'
        done = await self._at_partner(partner, ["sh", "-c", script, DISTURBANCE])
        try:
            found = done.stdout.strip()
            return Disturbance.model_validate_json(found) if found else Disturbance()
        except ValidationError as error:
            raise InfraError("partner", f"{partner}: {error}") from error

    async def _at_partner(self, name: str, argv: list[str], stdin: str = "") -> ExecResult:
        found = await self._kube.list("Pod", self._lab.namespace, labels=f"{_NAME}=partner-{name}")
        running = [p for p in found if (p.get("status") or {}).get("phase") == "Running"]
        if not running:
            raise InfraError("partner", f"nothing stands for {name!r}")
        done = await self._in_pod(name_of(running[0]), argv, stdin=stdin, space=self._lab.namespace)
        if done.code:
            raise InfraError("partner", f"{name}: {done.stderr.strip()}")
        return done

    async def announce(self, partner: str, *, begins_at: float, lasts_s: float) -> None:
        """Post a maintenance; whoever stands for a partner has no other status page."""
        spec = self._app.externals[partner]
        if spec.status_page is not None:
            text = maintenance(spec, begins_at, lasts_s)
            post = StatusPost(
                time=self._now(), partner=partner, provider=spec.provider,
                state="scheduled", text=text,
            )  # fmt: skip
            await self._observer("POST", "posts", post.model_dump(mode="json"))

    async def record_change(self, change: Change) -> None:
        await self._observer("POST", "changes", change.model_dump(mode="json"))

    async def _observer(self, method: str, path: str, body: object) -> None:
        """Ask the observer for something, through the API server's proxy."""
        space, token = self._lab.namespace, self._lab.token
        target = f"/api/v1/namespaces/{space}/services/{_OBSERVER}/proxy/e/{token}/{path}"
        try:
            await self._kube.connection.ask(Request(method, target, body=body))
        except (KubeError, InfraError) as error:
            # Whose words may have the path in them, and that has the token.
            words = f"{method} {path}: {error.message}".replace(token, "...")
            raise InfraError("observer", words) from None

    async def _in_pod(
        self, pod: str, argv: list[str], container: str = "", *, stdin: str = "", space: str = ""
    ) -> ExecResult:
        try:
            return await self._kube.exec(
                pod, space or self._app.namespace, argv, container=container or None, stdin=stdin,
                timeout_s=600.0,
            )  # fmt: skip
        except KubeError as error:
            raise InfraError("inject", f"{pod}: {argv[0]}: {error.message}") from error


def _together(parts: Iterable[Links]) -> Links:
    """Return everything that is not as usual."""
    pairs: dict[str, dict[str, Shape]] = {}
    pods: dict[str, Shape] = {}
    for part in parts:
        for source, found in part.pairs.items():
            own = pairs.setdefault(source, {})
            _add(own, found)
        _add(pods, part.pods)
    return Links(pairs=pairs, pods=pods)


def _add(shapes: dict[str, Shape], others: Mapping[str, Shape]) -> None:
    for key, shape in others.items():
        shapes[key] = combined((shapes[key], shape)) if key in shapes else shape


def _impossible(what: str) -> InfraError:
    words = f"a cluster cannot {what}; fault kinds that need it are not declared for kind"
    return InfraError("inject", words)
