"""Family ``release``: a rollout brings a version with a latent defect, or one that does not exist.

The defect itself is in the app's content (``releases.<version>.bug``) and acts only while
requests are served. Source: faults.md ``app-*``, ``chg-*``, ``ctr-bad-image``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, Site, condition, container_of, edit, fetch, rolled_out
from aiopslab.faults.database_schema import PrematureMigration, schema_fits
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.signal import Change
from aiopslab.models.support import Support, everywhere
from aiopslab.models.truth import FixStep

PIPELINE = "ci-pipeline"


class _Rollout(Fault):
    """A Deployment rolled to another image."""

    support: ClassVar[Support] = everywhere()

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

    support: ClassVar[Support] = everywhere(
        "the defect is in the app program, which does the harm for real"
    )
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


class LockContention(_Defect):
    """Requests wait for one lock of the process while its CPU idles."""

    kind = "release/lock-contention"
    cause = "lock_contention_in_release"
    field = "lock_ms"


class Deadlock(_Defect):
    """Two locks in either order: sooner or later a replica serves nothing any more."""

    kind = "release/deadlock"
    cause = "lock_contention_in_release"
    field = "deadlock_ms"


class Irreversible(_Rollout):
    """A defective version came with a migration, so the version before no longer fits the schema.

    A corrected version is published; rolling forward mends, rolling back makes it worse.
    """

    kind = "release/irreversible"
    cause = "errors_in_release"
    system_level = "Application"
    fault_type = "Code Defect"

    class Params(Model):
        """No parameters: version and migration are the app's."""

    @classmethod
    def _versions(cls, app: App, component: str) -> tuple[str, str] | None:
        """Return the defective version and the corrected one with the same columns."""
        service = app.services.get(component)
        found = (
            {bool(r.bug): v for v, r in sorted(service.releases.items()) if r.columns}
            if service
            else {}
        )
        bug = service.releases[found[True]].bug if service and True in found else None
        known = bug is not None and bug.error_rate is not None and False in found
        return (found[True], found[False]) if known else None

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return cls._versions(app, component) is not None

    def _ref(self, version: str) -> str:
        return f"{self.site.app.services[self.site.target].image.name}:{version}"

    @property
    def _pair(self) -> tuple[str, str]:
        found = self._versions(self.site.app, self.site.target)
        assert found is not None, "checked by fits"
        return found

    @property
    def _store(self) -> str:
        return self.site.app.services[self.site.target].uses["db"]

    def _bad(self) -> str:
        return self._ref(self._pair[0])

    async def inject(self, env: Environment) -> None:
        service = self.site.app.services[self.site.target]
        for sql in service.releases[self._pair[0]].migration:
            await env.substrate.store_admin(self._store, sql)
        await self._note(env, self._store, "database", f"migration 0053: {sql}")
        await super().inject(env)
        corrected = self._pair[1]
        text = f"build {self._ref(corrected)} passed and was published"
        await self._note(
            env, self.site.target, "other", f"{text} ({service.releases[corrected].changes})"
        )

    async def _note(self, env: Environment, component: str, kind: Any, summary: str) -> None:
        change = Change(
            time=env.now(), actor=PIPELINE, kind=kind, component=component, summary=summary
        )
        await env.substrate.record_change(change)

    async def recover(self, env: Environment) -> None:
        await super().recover(env)
        back = PrematureMigration(Site(self.site.app, self._store), PrematureMigration.Params())
        await back.recover(env)

    def fix(self) -> list[FixStep]:
        arguments = {"name": self.site.target, "image": self._ref(self._pair[1])}
        return [FixStep(tool="k8s_set_image", arguments=arguments)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        checks = await super().postconditions(env)
        return [*checks, await schema_fits(env, self.site.app, self.site.target, self._store)]


class ConnectionLeak(_Defect):
    """Pooled database connections are not given back."""

    kind = "release/connection-leak"
    cause = "connection_leak"
    field = "connection_leak"


KINDS: tuple[type[Fault], ...] = (
    BadTag, ConnectionLeak, CpuRegression, Deadlock, Errors, Irreversible, LockContention,
    MemoryLeak, QueryRegression,
)  # fmt: skip
