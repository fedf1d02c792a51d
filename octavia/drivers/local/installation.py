# SPDX-License-Identifier: Apache-2.0
"""Which things on this machine are ours: several installations may share one host.

The id comes from the state directory, so that it needs no file of its own and ``down`` finds what
``up`` made even after the state was purged. What the names are used for is not here: see
:mod:`octavia.drivers.local.links` and :mod:`octavia.drivers.local.process`.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# Linux allows 15 characters: "o", five of the installation, one for the kind, eight of the object.
_ID_DIGITS = 5
_OBJECT_DIGITS = 8
# Far above what anybody gives a route by hand, and told apart by the low 20 bits.
_METRIC_BASE = 0x6F000000


@dataclass(frozen=True)
class Installation:
    """One state directory, and everything on the machine that belongs to it.

    :param state_directory: made by whoever starts first, mode 0700.
    """

    state_directory: Path

    @cached_property
    def id(self) -> str:
        """Five hexadecimal digits, the same for the same directory."""
        real = str(self.state_directory.resolve())
        return hashlib.sha256(real.encode()).hexdigest()[:_ID_DIGITS]

    @property
    def route_metric(self) -> int:
        """Marks our ``unreachable`` routes, and makes every other route win over them."""
        return _METRIC_BASE + int(self.id, 16)

    @property
    def amphorae(self) -> Path:
        """One directory an amphora."""
        return self.state_directory / "amphorae"

    @property
    def demo(self) -> Path:
        """One directory a web server of the demo."""
        return self.state_directory / "demo"

    @property
    def address_book(self) -> Path:
        """The file of ports and addresses."""
        return self.state_directory / "addresses.json"

    def bridge(self, network_id: str) -> str:
        """The bridge that is a network."""
        return self._link("b", network_id)

    def pair(self, port_id: str) -> str:
        """The host's end of the veth pair that is a port."""
        return self._link("v", port_id)

    def owns(self, link: str) -> bool:
        """Is this the name of a bridge or a pair of ours?"""
        return self.owns_pair(link) or self._matches("b", link)

    def owns_pair(self, link: str) -> bool:
        """Is this the host's end of a veth pair of ours?"""
        return self._matches("v", link)

    def _link(self, kind: str, object_id: str) -> str:
        return f"o{self.id}{kind}{object_id.replace('-', '')[:_OBJECT_DIGITS]}"

    def _matches(self, kind: str, link: str) -> bool:
        return re.fullmatch(f"o{self.id}{kind}[0-9a-f]{{{_OBJECT_DIGITS}}}", link) is not None
