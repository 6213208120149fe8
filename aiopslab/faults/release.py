"""Family ``release``: a rollout brings a version with a latent defect, or one that does not exist.

The defect itself is in the app's content (``releases.<version>.bug``) and acts only while
requests are served. Source: faults.md ``app-*``, ``chg-*``, ``ctr-bad-image``.
"""

from __future__ import annotations

from abc import abstractmethod

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, container_of, edit, fetch, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.truth import FixStep

PIPELINE = "ci-pipeline"


class _Rollout(Fault):
    """A Deployment rolled to another image."""

    @abstractmethod
    def _bad(self) -> str:
        """Return the image reference that is rolled out."""

    @property
    def _good(self) -> str:
        return self.site.app.services[self.site.target].image.ref

    async def _roll(self, env: Environment, ref: str) -> None:
        name = self.site.target
        image = {"containers": [{"name": name, "image": ref}]}
        patch = {"spec": {"template": {"spec": image}}}
        await edit(env, "Deployment", name, patch, actor=PIPELINE)

    async def inject(self, env: Environment) -> None:
        await self._roll(env, self._bad())

    async def recover(self, env: Environment) -> None:
        await self._roll(env, self._good)

    def fix(self) -> list[FixStep]:
        undo = {"action": "undo", "kind": "Deployment", "name": self.site.target}
        return [FixStep(tool="k8s_rollout", arguments=undo)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        name = self.site.target
        deployment = await fetch(env, "Deployment", name)
        image = container_of(deployment, name)["image"] if deployment else "none"
        gone = condition("image", deployment is not None and image != self._bad(), f"runs {image}")
        return [gone, await rolled_out(env, "Deployment", name)]


class BadTag(_Rollout):
    """The rollout names a tag that the registry does not hold."""

    kind = "release/bad-tag"
    cause = "image_not_pullable"
    system_level = "Virtualization"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        suffix: str = "-rc1"
        """Appended to the deployed version."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in app.services

    def _bad(self) -> str:
        return self._good + self.params.suffix


class _Defect(_Rollout):
    """A version whose ``bug`` sets one field."""

    field: str
    system_level = "Application"
    fault_type = "Code Defect"

    class Params(Model):
        """No parameters: the magnitude is the release's."""

    @classmethod
    def _version(cls, app: App, component: str) -> str | None:
        service = app.services.get(component)
        for version, release in sorted(service.releases.items()) if service else []:
            plain = release.bug is not None and not release.columns
            if plain and getattr(release.bug, cls.field) is not None:
                return version
        return None

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return cls._version(app, component) is not None

    def _bad(self) -> str:
        version = self._version(self.site.app, self.site.target)
        return f"{self.site.app.services[self.site.target].image.name}:{version}"


class MemoryLeak(_Defect):
    """Memory is never freed; the kernel kills at the limit, again and again."""

    kind = "release/memory-leak"
    cause = "memory_leak"
    field = "leak_bytes_per_request"


class CpuRegression(_Defect):
    """Requests cost several times the CPU."""

    kind = "release/cpu-regression"
    cause = "cpu_regression_in_release"
    field = "cpu_factor"


class QueryRegression(_Defect):
    """One query a request became many."""

    kind = "release/query-regression"
    cause = "query_regression_in_release"
    field = "n_plus_one"


class Errors(_Defect):
    """A share of requests hits an unhandled exception."""

    kind = "release/errors"
    cause = "errors_in_release"
    field = "error_rate"


class ConnectionLeak(_Defect):
    """Pooled database connections are not given back."""

    kind = "release/connection-leak"
    cause = "connection_leak"
    field = "connection_leak"


KINDS = (BadTag, MemoryLeak, CpuRegression, QueryRegression, Errors, ConnectionLeak)
