# SPDX-License-Identifier: Apache-2.0
"""A request for each rule of contract api.md section 20.2, and what it takes to be allowed it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

OWN: Final = "own"
FOREIGN: Final = "foreign"

# What it takes (section 20.3), and for flavors, zones and providers: being a reader in one's own project.
READ, READ_GLOBAL, WRITE = "read", "read-global", "write"
READ_QUOTA, READ_QUOTA_GLOBAL, WRITE_QUOTA = "read-quota", "read-quota-global", "write-quota"
ADMIN, SERVICE_READ, ANY_READ = "admin", "read or service", "read in the own project"


@dataclass(frozen=True)
class Tree:
    """Ids of what a project has: one of each kind."""

    project_id: str
    ids: Mapping[str, str]

    def __getitem__(self, kind: str) -> str:
        return self.ids[kind]


@dataclass(frozen=True)
class Request:
    """One that is complete and valid, so that only the policy can refuse it.

    :param path: with ``{kind}`` where the tree's id of that kind belongs; ``{project}`` likewise.
    :param body: made for a tree.
    """

    takes: str
    method: str
    path: str
    code: int = 200
    body: Callable[[Tree], Any] = lambda _tree: None

    def to(self, tree: Tree) -> tuple[str, str, Any]:
        return self.method, self.path.format(project=tree.project_id, **tree.ids), self.body(tree)


def _wrap(root: str, **values: Any) -> Callable[[Tree], Any]:
    """A body; ``{kind}`` in a text is the tree's id."""

    def filled(tree: Tree) -> Any:
        return {
            root: {
                name: value.format(project=tree.project_id, **tree.ids)
                if isinstance(value, str) and "{" in value and '"' not in value
                else value
                for name, value in values.items()
            }
        }

    return filled


def _tenants(
    kind: str, path: str, root: str, *, create: dict[str, Any], update: dict[str, Any], item: str = ""
) -> dict[str, Request]:
    item = item or f"{path}/{{{kind}}}"
    return {
        f"{kind}:get_all": Request(READ, "GET", f"{path}?project_id={{project}}"),
        f"{kind}:get_one": Request(READ, "GET", item),
        f"{kind}:post": Request(WRITE, "POST", path, 201, _wrap(root, **create)),
        f"{kind}:put": Request(WRITE, "PUT", item, 200, _wrap(root, **update)),
        f"{kind}:delete": Request(WRITE, "DELETE", item, 204),
    }


def _offers(kind: str, path: str, root: str, read: str, create: dict[str, Any]) -> dict[str, Request]:
    return {
        f"{kind}:get_all": Request(read, "GET", path),
        f"{kind}:get_one": Request(read, "GET", f"{path}/{{{kind}}}"),
        f"{kind}:post": Request(ADMIN, "POST", path, 201, _wrap(root, name="new", **create)),
        f"{kind}:put": Request(
            ADMIN, "PUT", f"{path}/{{{kind}}}", 200, _wrap(root, **{_DESCRIBED.get(kind, "name"): "x"})
        ),
        f"{kind}:delete": Request(ADMIN, "DELETE", f"{path}/{{unused-{kind}}}", 204),
    }


_DESCRIBED: Final = {"flavor": "description", "availability-zone": "description"}
_LB: Final = "/loadbalancers"
_GROUP: Final = "3d6cf7d5-1c4b-4b3e-9a2a-0a6b0e3b8f11"
_AMPHORA: Final = "//v2.0/octavia/amphorae"

REQUESTS: Final[dict[str, Request]] = {
    **_tenants(
        "loadbalancer",
        _LB,
        "loadbalancer",
        create={"vip_subnet_id": "{subnet}", "project_id": "{project}"},
        update={"name": "x"},
    ),
    "loadbalancer:delete": Request(WRITE, "DELETE", f"{_LB}/{{loadbalancer}}?cascade=true", 204),
    "loadbalancer:post:vip_sg_ids": Request(
        WRITE,
        "POST",
        _LB,
        201,
        _wrap("loadbalancer", vip_subnet_id="{subnet}", project_id="{project}", vip_sg_ids=[_GROUP]),
    ),
    "loadbalancer:put:vip_sg_ids": Request(
        WRITE, "PUT", f"{_LB}/{{loadbalancer}}", 200, _wrap("loadbalancer", vip_sg_ids=[_GROUP])
    ),
    "loadbalancer:get_stats": Request(READ, "GET", f"{_LB}/{{loadbalancer}}/stats"),
    "loadbalancer:get_status": Request(READ, "GET", f"{_LB}/{{loadbalancer}}/status"),
    "loadbalancer:put_failover": Request(ADMIN, "PUT", f"{_LB}/{{loadbalancer}}/failover", 202),
    **_tenants(
        "listener",
        "/listeners",
        "listener",
        create={"loadbalancer_id": "{loadbalancer}", "protocol": "HTTP", "protocol_port": 81},
        update={"name": "x"},
    ),
    "listener:get_stats": Request(READ, "GET", "/listeners/{listener}/stats"),
    **_tenants(
        "pool",
        "/pools",
        "pool",
        create={"loadbalancer_id": "{loadbalancer}", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"},
        update={"name": "x"},
    ),
    **_tenants(
        "member",
        "/pools/{pool}/members",
        "member",
        create={"address": "192.0.2.77", "protocol_port": 80},
        update={"weight": 3},
    ),
    "member:get_all": Request(SERVICE_READ, "GET", "/pools/{pool}/members"),
    **_tenants(
        "healthmonitor",
        "/healthmonitors",
        "healthmonitor",
        create={"pool_id": "{bare-pool}", "type": "TCP", "delay": 5, "timeout": 3, "max_retries": 2},
        update={"name": "x"},
    ),
    **_tenants(
        "l7policy",
        "/l7policies",
        "l7policy",
        create={"listener_id": "{listener}", "action": "REJECT"},
        update={"name": "x"},
    ),
    **_tenants(
        "l7rule",
        "/l7policies/{l7policy}/rules",
        "rule",
        create={"type": "PATH", "compare_type": "STARTS_WITH", "value": "/y"},
        update={"value": "/z"},
    ),
    "l7rule:get_all": Request(READ, "GET", "/l7policies/{l7policy}/rules"),
    "quota:get_all": Request(READ_QUOTA, "GET", "/quotas?project_id={project}"),
    "quota:get_one": Request(READ_QUOTA, "GET", "/quotas/{project}"),
    "quota:get_defaults": Request(READ_QUOTA, "GET", "/quotas/{project}/default"),
    "quota:put": Request(WRITE_QUOTA, "PUT", "/quotas/{project}", 202, _wrap("quota", listener=7)),
    "quota:delete": Request(WRITE_QUOTA, "DELETE", "/quotas/{project}", 202),
    "provider:get_all": Request(ANY_READ, "GET", "/providers"),
    "provider-flavor:get_all": Request(ADMIN, "GET", "/providers/amphora/flavor_capabilities"),
    "provider-availability-zone:get_all": Request(
        ADMIN, "GET", "/providers/amphora/availability_zone_capabilities"
    ),
    **_offers("flavor", "/flavors", "flavor", ANY_READ, {"flavor_profile_id": "{flavor-profile}"}),
    **_offers(
        "flavor-profile",
        "/flavorprofiles",
        "flavorprofile",
        ADMIN,
        {"provider_name": "amphora", "flavor_data": '{"loadbalancer_topology": "SINGLE"}'},
    ),
    **_offers(
        "availability-zone",
        "/availabilityzones",
        "availability_zone",
        ANY_READ,
        {"availability_zone_profile_id": "{availability-zone-profile}"},
    ),
    **_offers(
        "availability-zone-profile",
        "/availabilityzoneprofiles",
        "availability_zone_profile",
        ADMIN,
        {"provider_name": "amphora", "availability_zone_data": '{"compute_zone": "nova"}'},
    ),
    "amphora:get_all": Request(ADMIN, "GET", _AMPHORA),
    "amphora:get_one": Request(ADMIN, "GET", f"{_AMPHORA}/{{amphora}}"),
    "amphora:get_stats": Request(ADMIN, "GET", f"{_AMPHORA}/{{amphora}}/stats"),
    "amphora:put_failover": Request(ADMIN, "PUT", f"{_AMPHORA}/{{amphora}}/failover", 202),
    "amphora:put_config": Request(ADMIN, "PUT", f"{_AMPHORA}/{{amphora}}/config", 202),
    "amphora:delete": Request(ADMIN, "DELETE", f"{_AMPHORA}/{{failed-amphora}}", 204),
}

# Lists without a filter: rule → what it takes to be shown every project's, to be shown the own, path, root.
LISTS: Final = {
    "loadbalancer": (READ_GLOBAL, READ, _LB, "loadbalancers"),
    "listener": (READ_GLOBAL, READ, "/listeners", "listeners"),
    "pool": (READ_GLOBAL, READ, "/pools", "pools"),
    "healthmonitor": (READ_GLOBAL, READ, "/healthmonitors", "healthmonitors"),
    "l7policy": (READ_GLOBAL, READ, "/l7policies", "l7policies"),
    "quota": (READ_QUOTA_GLOBAL, READ_QUOTA, "/quotas", "quotas"),
}
