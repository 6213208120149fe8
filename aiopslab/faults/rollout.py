"""Family ``rollout``: a rollout that was begun, stopped half-way and forgotten.

Source: faults.md ``ctr-stale-replica``, ``chg-partial-apply``, ``chg-bad-canary``.
"""

from __future__ import annotations

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, container_of, edit, fetch, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.service import Bug
from aiopslab.models.support import everywhere
from aiopslab.models.truth import FixStep

_LEAST_ERRORS = 0.2
"""A canary with fewer errors hurts nobody: it gets a share of the requests only."""


def _cause(bug: Bug) -> str | None:
    """Name the cause kind of a defect that shows in a part of the replicas."""
    if bug.cpu_factor:
        return "cpu_regression_in_release"
    if bug.n_plus_one:
        return "query_regression_in_release"
    return "errors_in_release" if (bug.error_rate or 0.0) >= _LEAST_ERRORS else None


class PausedCanary(Fault):
    """A bad version was rolled out to one replica; the Deployment is paused with both versions."""

    kind = "rollout/paused-canary"
    support = everywhere("the defect is in the app program, which does the harm for real")
    cause = "configuration_drift"
    system_level = "Application"
    fault_type = "Operation Error"

    class Params(Model):
        """Parameters."""

        actor: str = "t.lindqvist"

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return cls._version(app, component) is not None

    @staticmethod
    def _version(app: App, component: str) -> str | None:
        service = app.services.get(component)
        releases = sorted(service.releases.items()) if service else []
        return next((v for v, r in releases if r.bug is not None and _cause(r.bug)), None)

    def _image(self, version: str) -> str:
        return f"{self.site.app.services[self.site.target].image.name}:{version}"

    @property
    def _bad(self) -> str:
        version = self._version(self.site.app, self.site.target)
        assert version is not None  # fits
        return self._image(version)

    @property
    def _good(self) -> str:
        return self.site.app.services[self.site.target].image.ref

    async def _set(self, env: Environment, image: str) -> None:
        template = {"spec": {"containers": [{"name": self.site.target, "image": image}]}}
        patch = {"spec": {"template": template}}
        await edit(env, "Deployment", self.site.target, patch, actor=self.params.actor)

    async def _pause(self, env: Environment, paused: bool) -> None:
        patch = {"spec": {"paused": paused}}
        await edit(env, "Deployment", self.site.target, patch, actor=self.params.actor)

    async def inject(self, env: Environment) -> None:
        await self._set(env, self._bad)
        await env.advance(1.0)  # the first new pod is there, the first old one not yet gone
        await self._pause(env, True)

    async def recover(self, env: Environment) -> None:
        await self._pause(env, False)
        await self._set(env, self._good)

    def fix(self) -> list[FixStep]:
        back = {"name": self.site.target, "image": self._good}
        resume = {"action": "resume", "kind": "Deployment", "name": self.site.target}
        return [
            FixStep(tool="k8s_set_image", arguments=back),
            FixStep(tool="k8s_rollout", arguments=resume),
        ]

    def accepted(self) -> list[tuple[str, str]]:
        version = self._version(self.site.app, self.site.target)
        release = self.site.app.services[self.site.target].releases[version or ""]
        cause = _cause(release.bug) if release.bug else None
        return [(self.site.target, cause)] if cause else []

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        found = await fetch(env, "Deployment", self.site.target)
        image = "" if found is None else str(container_of(found, self.site.target)["image"])
        met = image not in ("", self._bad)
        return [
            condition("version", met, f"image {image or 'of nothing'}"),
            await rolled_out(env, "Deployment", self.site.target),
        ]


KINDS = (PausedCanary,)
