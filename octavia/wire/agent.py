# SPDX-License-Identifier: Apache-2.0
"""Paths, headers and payloads of the amphora agent's REST API (contract: amphora-agent.md).

REST 1.0 as the contract has it, and six extensions that an agent names in its ``info``:

``fence``
    A mutating request may carry the caller's fencing number; the agent refuses a lower one than it
    has seen with 409 ``{"message", "details", "fence": highest}``.
``generation``
    The agent remembers which generation of the load balancer is live.
``apply``
    ``PUT /1.0/loadbalancer/{amphora}/{load balancer}/apply`` takes everything at once.
``certificates``
    So do the files beside the configuration: each by its digest, and with its content where the agent has
    not got it. It answers 412 ``{"message", "missing": [name, …]}`` if that was left out.
``l4``
    And so do UDP and SCTP listeners, as :class:`octavia.dataplane.l4.model.L4Config`; named by an amphora
    that has what it takes to serve them without keepalived's LVS.
``sctp``
    Its kernel tracks SCTP; without it, ``l4`` is for UDP alone.

Payloads are checked here for shape and addresses, so that no text of a request reaches a command line
unparsed. Standard library only: the agent's memory is the tenant's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

API_VERSION: Final = "1.0"
PREFIX: Final = f"/{API_VERSION}"

HEADER_FENCE: Final = "X-Octavia-Fence"
HEADER_GENERATION: Final = "X-Octavia-Generation"

EXTENSION_FENCE: Final = "fence"
EXTENSION_GENERATION: Final = "generation"
EXTENSION_APPLY: Final = "apply"
EXTENSION_CERTIFICATES: Final = "certificates"
EXTENSION_L4: Final = "l4"
EXTENSION_SCTP: Final = "sctp"
EXTENSIONS: Final = (EXTENSION_FENCE, EXTENSION_GENERATION, EXTENSION_APPLY, EXTENSION_CERTIFICATES)

CERTIFICATE_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]|\.(?!\.)){0,199}\.pem")
_SHA256 = re.compile(r"[0-9a-f]{64}")

NO_INTERFACE: Final = "No suitable network interface found"  # the `details` that clients retry on

PATH_INFO: Final = f"{PREFIX}/info"
PATH_DETAILS: Final = f"{PREFIX}/details"
PATH_LISTENERS: Final = f"{PREFIX}/listeners"
PATH_PLUG_NETWORK: Final = f"{PREFIX}/plug/network"
PATH_CERTIFICATE: Final = f"{PREFIX}/certificate"
PATH_CONFIG: Final = f"{PREFIX}/config"
PATH_VRRP_UPLOAD: Final = f"{PREFIX}/vrrp/upload"


def path_haproxy(amphora_id: str, load_balancer_id: str) -> str:
    """Where HAProxy's configuration is put."""
    return f"{PREFIX}/loadbalancer/{amphora_id}/{load_balancer_id}/haproxy"


def path_apply(amphora_id: str, load_balancer_id: str) -> str:
    """Where everything is put at once (extension ``apply``)."""
    return f"{PREFIX}/loadbalancer/{amphora_id}/{load_balancer_id}/apply"


def path_action(load_balancer_id: str, action: str) -> str:
    """``start``, ``stop`` or ``reload`` of HAProxy."""
    return f"{PREFIX}/loadbalancer/{load_balancer_id}/{action}"


def path_certificate(load_balancer_id: str, name: str) -> str:
    """One file beside HAProxy's configuration."""
    return f"{PREFIX}/loadbalancer/{load_balancer_id}/certificates/{name}"


def path_listener(load_balancer_id: str) -> str:
    """What is deleted when a load balancer has nothing to run any more."""
    return f"{PREFIX}/listeners/{load_balancer_id}"


def path_udp_listener(listener_id: str) -> str:
    """The configuration of one UDP or SCTP listener, to be read."""
    return f"{PREFIX}/listeners/{listener_id}/udp_listener"


def path_put_udp_listener(amphora_id: str, listener_id: str) -> str:
    """Where it is put."""
    return f"{PREFIX}/listeners/{amphora_id}/{listener_id}/udp_listener"


def path_plug_vip(vip_address: str) -> str:
    """Where the VIP's interface is asked for."""
    return f"{PREFIX}/plug/vip/{vip_address}"


def path_vrrp(action: str) -> str:
    """``start``, ``stop`` or ``reload`` of keepalived."""
    return f"{PREFIX}/vrrp/{action}"


def path_interface(address: str) -> str:
    """Which interface has this address?"""
    return f"{PREFIX}/interface/{address}"


class BadPayload(ValueError):
    """A request body does not have the shape that it should; the text names the key."""


Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A host route of a subnet."""

    destination: Network
    nexthop: str

    @classmethod
    def from_json(cls, value: object) -> "Route":
        """:raises BadPayload:"""
        one = _object(value, "host_routes")
        return cls(destination=_network(one, "destination"), nexthop=_address(one, "nexthop"))

    def to_json(self) -> dict[str, Any]:
        """As the contract has it."""
        return {"destination": str(self.destination), "nexthop": self.nexthop}


@dataclass(frozen=True, slots=True, kw_only=True)
class VipAddress:
    """One VIP and the subnet that it is on."""

    ip_address: str
    subnet_cidr: Network
    gateway: str | None = None
    host_routes: tuple[Route, ...] = ()

    @classmethod
    def from_json(cls, value: object, *, address: str | None = None) -> "VipAddress":
        """:raises BadPayload: :param address: where it comes from the URL instead of the body."""
        one = _object(value, "additional_vips")
        return cls(
            ip_address=_address(one if address is None else {"ip_address": address}, "ip_address"),
            subnet_cidr=_network(one, "subnet_cidr"),
            gateway=_optional_address(one, "gateway"),
            host_routes=_routes(one),
        )

    def to_json(self) -> dict[str, Any]:
        """As the contract has it."""
        return {
            "ip_address": self.ip_address,
            "subnet_cidr": str(self.subnet_cidr),
            "gateway": self.gateway,
            "host_routes": [route.to_json() for route in self.host_routes],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class VipNetwork:
    """Everything about the interface that carries the VIPs (contract: section 5).

    :param vips: the primary first.
    :param vrrp_ip: the amphora's own address there; None asks for DHCP.
    :param mtu: bytes.
    """

    vips: tuple[VipAddress, ...]
    mac_address: str
    vrrp_ip: str | None = None
    mtu: int | None = None
    is_sriov: bool = False

    @classmethod
    def from_json(cls, vip: str, value: object) -> "VipNetwork":
        """:raises BadPayload:"""
        body = _object(value, "the body")
        additional = _list(body, "additional_vips")
        return cls(
            vips=(
                VipAddress.from_json(body, address=vip),
                *(VipAddress.from_json(one) for one in additional),
            ),
            mac_address=_mac(body),
            vrrp_ip=_optional_address(body, "vrrp_ip"),
            mtu=_mtu(body),
            is_sriov=bool(body.get("is_sriov", False)),
        )

    def to_json(self) -> dict[str, Any]:
        """The body of ``POST /plug/vip/{vip}``; the primary address itself is in the URL."""
        first = self.vips[0].to_json()
        del first["ip_address"]
        return {
            **first,
            "mac_address": self.mac_address,
            "vrrp_ip": self.vrrp_ip,
            "additional_vips": [vip.to_json() for vip in self.vips[1:]],
            "is_sriov": self.is_sriov,
            **({"mtu": self.mtu} if self.mtu is not None else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedAddress:
    """An address of the amphora on a network of members."""

    ip_address: str
    subnet_cidr: Network
    gateway: str | None = None
    host_routes: tuple[Route, ...] = ()

    @classmethod
    def from_json(cls, value: object) -> "FixedAddress":
        """:raises BadPayload:"""
        one = _object(value, "fixed_ips")
        return cls(
            ip_address=_address(one, "ip_address"),
            subnet_cidr=_network(one, "subnet_cidr"),
            gateway=_optional_address(one, "gateway"),
            host_routes=_routes(one),
        )

    def to_json(self) -> dict[str, Any]:
        """As the contract has it."""
        return {
            "ip_address": self.ip_address,
            "subnet_cidr": str(self.subnet_cidr),
            "gateway": self.gateway,
            "host_routes": [route.to_json() for route in self.host_routes],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberNetwork:
    """An interface towards members.

    :param fixed_ips: empty asks for DHCP and IPv6 autoconfiguration.
    :param vip: present when the port is the VIP's too, because members share its network.
    """

    mac_address: str
    fixed_ips: tuple[FixedAddress, ...] = ()
    mtu: int | None = None
    is_sriov: bool = False
    vip: VipNetwork | None = None

    @classmethod
    def from_json(cls, value: object) -> "MemberNetwork":
        """:raises BadPayload:"""
        body = _object(value, "the body")
        vip_net_info = body.get("vip_net_info")
        vip = None
        if vip_net_info:
            info = _object(vip_net_info, "vip_net_info")
            vip = VipNetwork.from_json(_address(info, "vip"), info)
        return cls(
            mac_address=_mac(body),
            fixed_ips=tuple(FixedAddress.from_json(one) for one in _list(body, "fixed_ips")),
            mtu=_mtu(body),
            is_sriov=bool(body.get("is_sriov", False)),
            vip=vip,
        )

    def to_json(self) -> dict[str, Any]:
        """The body of ``POST /plug/network``."""
        body: dict[str, Any] = {
            "mac_address": self.mac_address,
            "fixed_ips": [one.to_json() for one in self.fixed_ips],
            "is_sriov": self.is_sriov,
        }
        if self.mtu is not None:
            body["mtu"] = self.mtu
        if self.vip is not None:
            body["vip_net_info"] = {"vip": self.vip.vips[0].ip_address, **self.vip.to_json()}
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFile:
    """A file beside the configuration: PEM, or the list of a listener's certificates.

    :param sha256: None: whatever the agent has under this name.
    :param content: None where the agent has it already.
    """

    sha256: str | None
    content: str | None = field(default=None, repr=False)

    @classmethod
    def from_json(cls, name: str, value: object) -> "CertificateFile":
        """:raises BadPayload:"""
        if not CERTIFICATE_NAME.fullmatch(name):
            raise BadPayload("certificates has a name that is no name of a PEM file")
        one = _object(value, f"certificates {name}")
        sha256 = one.get("sha256")
        if sha256 is not None and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
            raise BadPayload(f"certificates {name} sha256 should be 64 hexadecimal digits")
        return cls(sha256=sha256, content=_optional_text(one, "content"))

    def to_json(self) -> dict[str, str | None]:
        """The value under the file's name."""
        return {"sha256": self.sha256, **({"content": self.content} if self.content is not None else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """The body of the extension ``apply``: everything that should run.

    :param haproxy: text of haproxy.cfg; None stops HAProxy and removes what belongs to it.
    :param keepalived: text for the VRRP keepalived; None stops it.
    :param certificates: all files that the configuration names, by name; None leaves alone what is there.
    :param l4: UDP and SCTP listeners; None serves none.
    """

    generation: int
    haproxy: str | None
    keepalived: str | None
    certificates: Mapping[str, CertificateFile] | None = None
    l4: Mapping[str, Any] | None = None

    @classmethod
    def from_json(cls, value: object) -> "Apply":
        """:raises BadPayload:"""
        body = _object(value, "the body")
        generation = body.get("generation")
        if not isinstance(generation, int) or isinstance(generation, bool) or not 0 <= generation < 2**63:
            raise BadPayload("generation should be a number from 0 on")
        return cls(
            generation=generation,
            haproxy=_optional_text(body, "haproxy"),
            keepalived=_optional_text(body, "keepalived"),
            certificates=_certificates(body),
            l4=None if body.get("l4") is None else _object(body["l4"], "l4"),
        )

    def to_json(self) -> dict[str, Any]:
        """The body."""
        body: dict[str, Any] = {"generation": self.generation, "haproxy": self.haproxy}
        body["keepalived"] = self.keepalived
        if self.l4 is not None:
            body["l4"] = dict(self.l4)
        if self.certificates is None:
            return body
        return body | {"certificates": {name: one.to_json() for name, one in self.certificates.items()}}


def _certificates(body: Mapping[str, Any]) -> dict[str, CertificateFile] | None:
    value = body.get("certificates")
    if value is None:
        return None
    files = _object(value, "certificates")
    return {name: CertificateFile.from_json(name, one) for name, one in files.items()}


def _object(value: object, noun: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadPayload(f"{noun} should be a JSON object")
    return value


def _list(body: Mapping[str, Any], key: str) -> list[Any]:
    value = body.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadPayload(f"{key} should be a list")
    return value


def _routes(body: Mapping[str, Any]) -> tuple[Route, ...]:
    return tuple(Route.from_json(one) for one in _list(body, "host_routes"))


def _address(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    try:
        # A scope ("%eth0") is no part of a VIP's or a member's address, and hostile in a command.
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        return str(ip_address(value))
    except ValueError:
        raise BadPayload(f"{key} should be an IP address") from None


def _optional_address(body: Mapping[str, Any], key: str) -> str | None:
    return None if body.get(key) in (None, "") else _address(body, key)


def _network(body: Mapping[str, Any], key: str) -> Network:
    value = body.get(key)
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        return ip_network(value, strict=False)
    except ValueError:
        raise BadPayload(f"{key} should be a CIDR") from None


def _mac(body: Mapping[str, Any]) -> str:
    value = body.get("mac_address")
    octets = value.lower().split(":") if isinstance(value, str) else []
    if len(octets) != 6 or not all(len(one) == 2 and set(one) <= set("0123456789abcdef") for one in octets):
        raise BadPayload("mac_address should be six octets with colons")
    return ":".join(octets)


def _mtu(body: Mapping[str, Any]) -> int | None:
    value = body.get("mtu")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 68 <= value <= 65535:
        raise BadPayload("mtu should be a number of bytes from 68 to 65535")
    return value


def _optional_text(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise BadPayload(f"{key} should be a text or null")
    return value
