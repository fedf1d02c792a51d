# SPDX-License-Identifier: Apache-2.0
"""Kinds of values that several sections share, and defaults too long for a table."""

from typing import Any, Final

from oslo_config import types

TLS_VERSIONS: Final = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")  # oldest first
TLS_VERSION: Final = types.String(choices=TLS_VERSIONS)
ALPN_PROTOCOL: Final = types.String(choices=("h2", "http/1.1", "http/1.0"))

CIPHERS: Final = ":".join(
    (
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "DHE-RSA-AES128-GCM-SHA256",
        "DHE-RSA-AES256-GCM-SHA384",
        "DHE-RSA-CHACHA20-POLY1305",
    )
)


class Seconds(types.Float):
    """A duration in seconds: whole as operators have always written it, or with a fraction.

    ``1`` stays the integer 1, so that what is stored and rendered looks as before; ``0.25`` is a float.
    """

    def __call__(self, value: Any) -> int | float | None:
        """:raises ValueError: not a number, or outside the limits."""
        seconds = super().__call__(value)
        return int(seconds) if seconds is not None and seconds == int(seconds) else seconds
