"""Who may do what, and of which sites: decided from grants, which a key or a token carries.

A grant is a role and, where the role has not all sites, its sites: ``plant:SITE_001``,
``region:SITE_001,SITE_002``, ``corporate``. Whoever has several may do what any of them allows.

| role | may | of |
|---|---|---|
| plant | read, review | one site |
| region | read | the sites that it names |
| corporate | read | all |
| planner | read, review, plan | all, or the sites that it names |
| admin | everything | all |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from shared.errors import BadSetting, SyncError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

#: Sites that one grant may name.
GRANTED_MAX: Final = 1_000
#: Sites that one request may name, and the characters of it: no list of them is worth more work.
NARROWED_MAX: Final = 200
NARROWED_CHARS_MAX: Final = 4_400
_SITE: Final = re.compile(r"[A-Z0-9_-]{1,20}")


class Scope(StrEnum):
    """What somebody may do."""

    READ = "read"
    #: Decide conflicts that wait for a person.
    REVIEW = "review"
    #: Write central and two-way rows.
    PLAN = "plan"
    #: Look after the system, and see who did what.
    ADMIN = "admin"


class NotInScope(SyncError):
    """The key or token does not allow this."""


class NotYourSite(SyncError):
    """The key or token reaches no such site, whether there is one or not."""


class BadSiteName(SyncError):
    """It is not the name of a site."""


@dataclass(frozen=True, slots=True)
class Sites:
    """Some sites, or every one that is registered, also those that come later."""

    names: frozenset[str] = frozenset()
    every: bool = False

    def __or__(self, other: Sites) -> Sites:
        """Return what either has."""
        return Sites(self.names | other.names, self.every or other.every)

    def among(self, registered: frozenset[str]) -> frozenset[str]:
        """Return those that are registered."""
        return registered if self.every else self.names & registered


@dataclass(frozen=True, slots=True)
class _Role:
    scopes: frozenset[Scope]
    #: How many sites a grant names, at least and at most; none stands for all.
    sites_min: int = 0
    sites_max: int = 0


_ROLES: Final[Mapping[str, _Role]] = {
    "plant": _Role(frozenset({Scope.READ, Scope.REVIEW}), 1, 1),
    "region": _Role(frozenset({Scope.READ}), 1, GRANTED_MAX),
    "corporate": _Role(frozenset({Scope.READ})),
    "planner": _Role(frozenset({Scope.READ, Scope.REVIEW, Scope.PLAN}), 0, GRANTED_MAX),
    "admin": _Role(frozenset(Scope)),
}


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who asks, as far as it matters."""

    #: As the audit log names them: ``key grafana``, ``user 248289761001``.
    name: str
    #: Of which sites they may do what.
    reach: Mapping[Scope, Sites]


def who(name: str, grants: Iterable[str], scopes: Collection[Scope] = frozenset(Scope)) -> Who:
    """Return somebody with these grants, of which they use no more than these scopes.

    Raise BadSetting where a grant is none.
    """
    reach: dict[Scope, Sites] = {}
    for grant in grants:
        role, sites = _parsed(grant)
        for scope in role.scopes.intersection(scopes):
            reach[scope] = reach.get(scope, Sites()) | sites
    return Who(name, reach)


def _parsed(grant: str) -> tuple[_Role, Sites]:
    name, _, listed = grant.partition(":")
    role = _ROLES.get(name)
    if role is None:
        raise BadSetting(f"grant {grant!r}: no such role; it is one of {', '.join(_ROLES)}")
    names = listed.split(",") if ":" in grant else []
    if wrong := _wrong(names):
        raise BadSetting(f"grant {grant!r}: {wrong[0]!r} is not the name of a site")
    if not role.sites_min <= len(names) <= role.sites_max:
        wanted = "one site" if role.sites_max == 1 else "sites" if role.sites_min else "no site"
        raise BadSetting(f"grant {grant!r}: {name} wants {wanted}, as in {_example(name)}")
    return role, Sites(frozenset(names), every=not names)


def _wrong(names: list[str]) -> list[str]:
    return [each for each in names if not _SITE.fullmatch(each)]


def _example(name: str) -> str:
    return {"plant": "plant:SITE_001", "region": "region:SITE_001,SITE_002"}.get(name, name)


def reached(
    asking: Who, scope: Scope, registered: frozenset[str], *narrowings: str | None
) -> tuple[str, ...]:
    """Return the sites of one request, in order: those that somebody reaches, narrowed.

    Each narrowing is a list of names parted by commas, or None where the request has none. It never
    adds a site. Raise NotInScope where the scope is not theirs at all, and NotYourSite where a
    narrowing names a site beyond it; nothing tells then whether there is such a site.
    """
    if scope not in asking.reach:
        raise NotInScope(f"{asking.name} may not {scope}; ask an administrator for a grant")
    sites = asking.reach[scope].among(registered)
    for narrowing in narrowings:
        if narrowing is not None:
            sites = _narrowed(sites, narrowing)
    return tuple(sorted(sites))


def _narrowed(sites: frozenset[str], narrowing: str) -> frozenset[str]:
    if len(narrowing) > NARROWED_CHARS_MAX:
        raise BadSiteName(f"sites are named in {NARROWED_CHARS_MAX:,} characters at most")
    names = [each.strip() for each in narrowing.split(",")]
    if len(names) > NARROWED_MAX:
        raise BadSiteName(f"{NARROWED_MAX} sites are named at most")
    if wrong := _wrong(names):
        raise BadSiteName(f"{wrong[0][:40]!r} is not the name of a site")
    if beyond := sorted(set(names) - sites):
        raise NotYourSite(f"no site {beyond[0]} here that this key or token reaches")
    return frozenset(names)
