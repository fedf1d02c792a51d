# SPDX-License-Identifier: Apache-2.0
"""The few read-only calls of a network API with which clients turn names into ids.

Standalone answers them, so that ``openstack loadbalancer create --vip-subnet-id demo`` works without
OpenStack. Nothing can be written here.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from octavia.api.service import Answer, Call
from octavia.domain.errors import NotFound
from octavia.drivers.network.contract import Network, Port, Subnet

_NOT_FILTERS: Final = frozenset({"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"})


def versions(call: Call) -> Answer:
    """GET /network: the version document."""
    link = {"rel": "self", "href": f"{call.req.prefix}/network/v2.0/"}
    return Answer(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})


def networks(call: Call) -> Answer:
    """GET /network/v2.0/networks."""
    return _list(call, "networks", [_network(one) for one in call.service.network.list_networks()])


def network(call: Call, network_id: str) -> Answer:
    """GET /network/v2.0/networks/{id}."""
    return _one(
        "network", "Network", network_id, lambda: _network(call.service.network.get_network(network_id))
    )


def subnets(call: Call) -> Answer:
    """GET /network/v2.0/subnets."""
    return _list(call, "subnets", [_subnet(one) for one in call.service.network.list_subnets()])


def subnet(call: Call, subnet_id: str) -> Answer:
    """GET /network/v2.0/subnets/{id}."""
    return _one("subnet", "Subnet", subnet_id, lambda: _subnet(call.service.network.get_subnet(subnet_id)))


def ports(call: Call) -> Answer:
    """GET /network/v2.0/ports."""
    return _list(call, "ports", [_port(one) for one in call.service.network.list_ports()])


def port(call: Call, port_id: str) -> Answer:
    """GET /network/v2.0/ports/{id}."""
    return _one("port", "Port", port_id, lambda: _port(call.service.network.get_port(port_id)))


def policies(_call: Call) -> Answer:
    """GET /network/v2.0/qos/policies: there are none."""
    return Answer(200, {"policies": []})


def security_groups(_call: Call) -> Answer:
    """GET /network/v2.0/security-groups: there are none."""
    return Answer(200, {"security_groups": []})


def _list(call: Call, plural: str, every: Sequence[dict[str, Any]]) -> Answer:
    wanted: dict[str, set[str]] = {}
    for name, value in call.query:
        if name not in _NOT_FILTERS:
            wanted.setdefault(name, set()).add(value.lower())
    found = [one for one in every if all(_text(one.get(name)) in values for name, values in wanted.items())]
    chosen = {value for name, value in call.query if name == "fields"}
    if chosen:
        found = [{name: value for name, value in one.items() if name in chosen} for one in found]
    return Answer(200, {plural: found})


def _text(value: object) -> str:
    return str(value).lower()


def _one(root: str, kind: str, identifier: str, get: Callable[[], dict[str, Any]]) -> Answer:
    try:
        return Answer(200, {root: get()})
    except NotFound:
        message = f"{kind} {identifier} could not be found."
        fault = {"type": f"{kind}NotFound", "message": message, "detail": ""}
        return Answer(404, {"NeutronError": fault})


def _network(one: Network) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "subnets": list(one.subnet_ids),
        "status": "ACTIVE",
        "admin_state_up": True,
        "mtu": one.mtu,
        "shared": True,
        "router:external": False,
        "port_security_enabled": one.port_security_enabled,
        "project_id": one.project_id,
        "tenant_id": one.project_id,
    }


def _subnet(one: Subnet) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "network_id": one.network_id,
        "cidr": one.cidr,
        "ip_version": one.ip_version,
        "gateway_ip": one.gateway_ip,
        "enable_dhcp": False,
        "allocation_pools": [],
        "host_routes": [
            {"destination": route.destination, "nexthop": route.nexthop} for route in one.host_routes
        ],
        "dns_nameservers": [],
        "project_id": None,
        "tenant_id": None,
    }


def _port(one: Port) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "network_id": one.network_id,
        "mac_address": one.mac_address,
        "fixed_ips": [{"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in one.fixed_ips],
        "device_id": one.device_id,
        "device_owner": one.device_owner,
        "status": "ACTIVE",
        "admin_state_up": one.admin_state_up,
        "qos_policy_id": one.qos_policy_id,
        "project_id": one.project_id,
        "tenant_id": one.project_id,
    }
