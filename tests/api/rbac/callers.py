# SPDX-License-Identifier: Apache-2.0
"""Roles, and what each gives (contract: api.md section 20.5): written down here once more, by hand."""

from dataclasses import dataclass
from typing import Final

from tests.api.rbac.requests import (
    ADMIN,
    ANY_READ,
    OWN,
    READ,
    READ_GLOBAL,
    READ_QUOTA,
    READ_QUOTA_GLOBAL,
    SERVICE_READ,
    WRITE,
    WRITE_QUOTA,
)

_READS: Final = frozenset({READ, SERVICE_READ, READ_QUOTA})
_EVERYTHING: Final = _READS | {READ_GLOBAL, WRITE, READ_QUOTA_GLOBAL, WRITE_QUOTA, ADMIN, ANY_READ}
_NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class Grant:
    """What a role gives in the own project, and in others."""

    own: frozenset[str] = _NOTHING
    foreign: frozenset[str] = _NOTHING

    def allows(self, takes: str, project_id: str) -> bool:
        # Where objects are of no project it is the caller's own that counts.
        mine = project_id == OWN or takes == ANY_READ
        return takes in (self.own if mine else self.foreign)


ALL_IN_ALL: Final = Grant(_EVERYTHING, _EVERYTHING)
NOTHING: Final = Grant()

KEYSTONE: Final = {
    "admin": ALL_IN_ALL,
    "member,reader": Grant(_READS | {WRITE, ANY_READ}),
    "reader": Grant(_READS | {ANY_READ}),
    "service": Grant(frozenset({SERVICE_READ}), frozenset({SERVICE_READ})),
    "somebody": NOTHING,
    "": NOTHING,
}
_LOOKS: Final = _READS | {READ_GLOBAL, READ_QUOTA_GLOBAL, ANY_READ}
_QUOTAS: Final = frozenset({READ_QUOTA, READ_QUOTA_GLOBAL, WRITE_QUOTA})
LEGACY: Final = {
    "load-balancer_admin": ALL_IN_ALL,
    "load-balancer_global_observer": Grant(_LOOKS, _LOOKS),
    "load-balancer_member": Grant(_READS | {WRITE, ANY_READ}),
    "load-balancer_observer": Grant(_READS | {ANY_READ}),
    "load-balancer_quota_admin": Grant(_QUOTAS, _QUOTAS),
}
