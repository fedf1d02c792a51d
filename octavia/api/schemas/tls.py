# SPDX-License-Identifier: Apache-2.0
"""Fields of TLS that listeners and pools share (contract: api.md sections 7.7 and 8.2).

What they may be together is not here: see :mod:`octavia.domain.tls`.
"""

from collections.abc import Sequence
from typing import Any, Final

from octavia.api.schemas import types
from octavia.api.schemas.fields import Field, Setting
from octavia.api.schemas.types import BadValue, described, schema_of
from octavia.domain.tls import ALPN_PROTOCOLS

_LONGEST_LIST: Final = 512  # characters with commas between the words, as the database keeps it
_VERSION_LIST: Final = types.set_of(
    types.matching(r"[A-Za-z0-9.]+", 16, "Value should be the name of a TLS version")
)
_ALPN_LIST: Final = types.set_of(types.words(*ALPN_PROTOCOLS))


@described(**schema_of(_VERSION_LIST))
def _versions(value: Any) -> tuple[str, ...]:
    """Which versions there are is the rule's to say: where TLS is not spoken, nobody asks."""
    found: tuple[str, ...] = _VERSION_LIST(value)
    if len(",".join(found)) > _LONGEST_LIST:
        raise BadValue("Value should be a list of TLS versions")
    return found


@described(**schema_of(types.list_of(types.text(255))))
def shown_words(value: Sequence[str]) -> list[str]:
    """A sequence as JSON has it."""
    return list(value)


def container_ref(name: str, about: str) -> Field:
    """A reference to a secret; ``""`` and null mean none."""
    return Field(name=name, type=types.text(255), about=about)


def tls_ciphers(default: Setting) -> Field:
    """A cipher list of OpenSSL; ``default`` is what null writes on an update."""
    about = 'Cipher list in the form of OpenSSL; names that begin with "TLS_" are for TLS 1.3.'
    return Field(name="tls_ciphers", type=types.text(2048), null_on_update=default, about=about)


def tls_versions(default: Setting) -> Field:
    """Versions of TLS that are spoken."""
    return Field(
        name="tls_versions",
        type=_versions,
        null_on_update=default,
        render=shown_words,
        about="SSLv3, TLSv1, TLSv1.1, TLSv1.2, TLSv1.3; not all of them are allowed everywhere.",
    )


def alpn_protocols(default: Setting | None) -> Field:
    """Protocols to agree on by ALPN."""
    return Field(name="alpn_protocols", type=_ALPN_LIST, null_on_update=default, render=shown_words)
