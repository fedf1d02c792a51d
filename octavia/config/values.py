# SPDX-License-Identifier: Apache-2.0
"""Kinds of values that several sections share, and defaults too long for a table."""

from typing import Any, Final

from oslo_config import types

from octavia.domain.tls import ALPN_PROTOCOLS, CIPHERS, VERSIONS

TLS_VERSIONS: Final = VERSIONS  # oldest first
TLS_VERSION: Final = types.String(choices=TLS_VERSIONS)
ALPN_PROTOCOL: Final = types.String(choices=ALPN_PROTOCOLS)

__all__ = ["ALPN_PROTOCOL", "CIPHERS", "TLS_VERSION", "TLS_VERSIONS", "Seconds"]


class Seconds(types.Float):
    """A duration in seconds: whole as operators have always written it, or with a fraction.

    ``1`` stays the integer 1, so that what is stored and rendered looks as before; ``0.25`` is a float.
    """

    def __call__(self, value: Any) -> int | float | None:
        """:raises ValueError: not a number, or outside the limits."""
        seconds = super().__call__(value)
        return int(seconds) if seconds is not None and seconds == int(seconds) else seconds
