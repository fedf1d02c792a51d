# SPDX-License-Identifier: Apache-2.0
"""Identifiers of things that nobody keeps a list of.

The no-op drivers of different processes agree without talking to each other: each identifier is computed from
the one that it belongs to, and back. So whatever well-formed identifier somebody asks about exists.
"""

import uuid
from typing import Final

from octavia.domain.errors import NotFound

# XOR with it gives another UUID of the same version, and the first one again when it is repeated.
_OTHER: Final = int.from_bytes(b"octavia")


def twin(noun: str, identifier: str) -> str:
    """The one thing that belongs to another: a network's subnet, a subnet's network, an amphora's server.

    ``twin(twin(x)) == x``.

    :param noun: what ``identifier`` names, for the error.
    :raises NotFound: it is no UUID.
    """
    return str(uuid.UUID(int=known(noun, identifier).int ^ _OTHER))


def known(noun: str, identifier: str) -> uuid.UUID:
    """:raises NotFound: it is no UUID, so nothing has this identifier."""
    try:
        return uuid.UUID(identifier)
    except ValueError:
        raise NotFound(noun, identifier) from None


def derived(name: str) -> uuid.UUID:
    """The identifier of what has this name."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"octavia {name}")
