# SPDX-License-Identifier: Apache-2.0
"""Kinds of values that several sections share, and defaults too long for a table."""

import re
from ipaddress import IPv6Address
from typing import Any, Final, NamedTuple

from oslo_config import types

from octavia.domain.tls import ALPN_PROTOCOLS, CIPHERS, VERSIONS

TLS_VERSIONS: Final = VERSIONS  # oldest first
TLS_VERSION: Final = types.String(choices=TLS_VERSIONS)
ALPN_PROTOCOL: Final = types.String(choices=ALPN_PROTOCOLS)

__all__ = ["ALPN_PROTOCOL", "CIPHERS", "TLS_VERSION", "TLS_VERSIONS", "HostPort", "HostPortType", "Seconds"]

_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_PORT: Final = re.compile(r"[0-9]{1,5}")


class Seconds(types.Float):
    """A duration in seconds: whole as operators have always written it, or with a fraction.

    ``1`` stays the integer 1, so that what is stored and rendered looks as before; ``0.25`` is a float.
    """

    def __call__(self, value: Any) -> int | float | None:
        """:raises ValueError: not a number, or outside the limits."""
        seconds = super().__call__(value)
        return int(seconds) if seconds is not None and seconds == int(seconds) else seconds


class HostPort(NamedTuple):
    """Where something listens; an IPv6 address is without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written in a configuration file."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class HostPortType(types.ConfigType):
    """``host:port``, split at the last colon; IPv6 in brackets, or without, as older files have it."""

    def __init__(self) -> None:
        super().__init__(type_name="host:port value")

    def __call__(self, value: Any) -> HostPort:
        """:raises ValueError: no host, or no port from 1 to 65535."""
        if isinstance(value, HostPort):
            return value
        text = str(value).strip()
        host, _, port = text.rpartition(":")
        if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535 or not host:
            raise ValueError(f"{text!r} should be host:port, such as 192.0.2.1:514 or [2001:db8::1]:514")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if ":" in bare or bare != host:
            return HostPort(_ipv6(bare, text), int(port))
        if not _HOST.fullmatch(host):
            raise ValueError(f"{text!r} should begin with an IP address or the name of a host")
        return HostPort(host, int(port))

    def __repr__(self) -> str:
        """For the generator of sample configurations."""
        return "HostPort"

    def __eq__(self, other: object) -> bool:
        """There is nothing to choose."""
        return isinstance(other, HostPortType)

    def __hash__(self) -> int:
        """See :meth:`__eq__`."""
        return hash(HostPortType)

    def _formatter(self, value: Any) -> str:
        return str(value)


def _ipv6(text: str, whole: str) -> str:
    try:
        # A scope would name an interface of another machine.
        return str(IPv6Address("" if "%" in text else text))
    except ValueError:
        raise ValueError(f"{whole!r} should be like [2001:db8::1]:514") from None
