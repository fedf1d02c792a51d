# SPDX-License-Identifier: Apache-2.0
"""TLS towards clients and members: words for ``bind`` and ``server``, and the files that they name.

Contract: data-plane.md sections 3, 4 and 12. Where this differs, on purpose:

* A file is called after the place that it fills, not after its content: the certificate of a place can then
  be renewed, or another put there, in the running process. What is unchanged is seen by its digest.
* Suites of TLS 1.3 (``TLS_…``) are taken out of the list of ciphers: HAProxy has a keyword of its own for
  them, and would ignore them in the other.
* Members are verified whenever there is a CA, whatever monitors their pool.

What is in the files is not here: they are named by the references of their secrets.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from octavia.dataplane.haproxy.values import Unrenderable
from octavia.domain import tls
from octavia.domain.tree import ClientAuthentication, Listener, Pool, Protocol

_CIPHERS = re.compile(r"[A-Za-z0-9\-+!:@=_.]+")
_OLDER_THAN_1_3: Final = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2")
_NO_VERSION: Final = {
    "SSLv3": "no-sslv3",
    "TLSv1": "no-tlsv10",
    "TLSv1.1": "no-tlsv11",
    "TLSv1.2": "no-tlsv12",
    "TLSv1.3": "no-tlsv13",
}
_VERIFY: Final = {
    ClientAuthentication.NONE: "none",
    ClientAuthentication.OPTIONAL: "optional",
    ClientAuthentication.MANDATORY: "required",
}


class Kind(Enum):
    """What a file holds."""

    CERTIFICATE = "certificate"
    CA = "CA"
    CRL = "CRL"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFile:
    """A file beside the configuration that is made of a secret.

    :param owner: id of the listener or pool that needs it.
    :param ref: of the secret.
    :param signed_by: the reference of the CA that has to have signed it; of a CRL only.
    """

    name: str
    owner: str
    kind: Kind
    ref: str
    signed_by: str | None = None


def terminates(listener: Listener) -> bool:
    """Does it speak TLS with its clients? PROMETHEUS does if it has a certificate."""
    if listener.protocol is Protocol.PROMETHEUS:
        return bool(tls.secrets_of_listener(listener).certificates)
    return listener.protocol is Protocol.TERMINATED_HTTPS


def crt_list_name(listener: Listener) -> str:
    """What the file is called that lists a listener's certificates."""
    return f"{listener.id}.pem"


def crt_list(listener: Listener, directory: str) -> str:
    """Its text: a path a line, the certificate for clients that name no server first.

    :raises Unrenderable: the listener has no certificate.
    """
    named = tls.secrets_of_listener(listener).certificates
    if not named:
        raise Unrenderable("It terminates TLS and has no certificate; give it one.")
    return "".join(f"{directory}/{name}\n" for name in _certificate_names(listener, named))


def files_of_listener(listener: Listener) -> tuple[SecretFile, ...]:
    """What its ``bind`` lines and its crt-list name."""
    named = tls.secrets_of_listener(listener)
    names = _certificate_names(listener, named.certificates)
    certificates = tuple(
        SecretFile(name=name, owner=listener.id, kind=Kind.CERTIFICATE, ref=ref)
        for name, ref in zip(names, named.certificates, strict=True)
    )
    return certificates + _authorities(listener.id, named)


def files_of_pool(pool: Pool) -> tuple[SecretFile, ...]:
    """What its ``server`` lines name."""
    if not pool.tls_enabled:
        return ()
    named = tls.secrets_of_pool(pool)
    shown = tuple(
        SecretFile(name=_name("client", pool.id), owner=pool.id, kind=Kind.CERTIFICATE, ref=ref)
        for ref in named.certificates
    )
    return shown + _authorities(pool.id, named)


def bind_words(listener: Listener, directory: str, fallback_ciphers: str) -> list[str]:
    """What follows the address on a ``bind`` line; agents look for the first three words.

    :param fallback_ciphers: for a list in the database that is none.
    """
    words = ["ssl", "crt-list", f"{directory}/{crt_list_name(listener)}"]
    if listener.client_ca_tls_container_ref:
        words += ["ca-file", f"{directory}/{_name('ca', listener.id)}"]
        words += ["verify", _VERIFY[listener.client_authentication]]
        if listener.client_crl_container_ref:
            words += ["crl-file", f"{directory}/{_name('crl', listener.id)}"]
    return words + _negotiation(listener, fallback_ciphers)


def server_words(pool: Pool, directory: str, fallback_ciphers: str) -> list[str]:
    """What makes a ``server`` line speak TLS; none if the pool does not."""
    if not pool.tls_enabled:
        return []
    words = ["ssl", "sni", "ssl_fc_sni"]
    if pool.tls_container_ref:
        words += ["crt", f"{directory}/{_name('client', pool.id)}"]
    if pool.ca_tls_container_ref:
        words += ["ca-file", f"{directory}/{_name('ca', pool.id)}", "verify", "required"]
        if pool.crl_container_ref:
            words += ["crl-file", f"{directory}/{_name('crl', pool.id)}"]
    else:
        words += ["verify", "none"]
    return words + _negotiation(pool, fallback_ciphers)


def check_words(pool: Pool) -> list[str]:
    """What the checks of members that speak TLS need besides."""
    agreed = _alpn(pool)
    return ["check-alpn", agreed] if pool.tls_enabled and agreed else []


def _certificate_names(listener: Listener, refs: Sequence[str]) -> list[str]:
    # The first place can be given another certificate at runtime, but HAProxy never gives it up.
    return [_name("default", listener.id), *(_name("sni", listener.id, ref) for ref in refs[1:])][: len(refs)]


def _authorities(owner: str, named: tls.Secrets) -> tuple[SecretFile, ...]:
    if named.ca is None:
        return ()
    files = [SecretFile(name=_name("ca", owner), owner=owner, kind=Kind.CA, ref=named.ca)]
    if named.crl is not None:
        files.append(
            SecretFile(
                name=_name("crl", owner), owner=owner, kind=Kind.CRL, ref=named.crl, signed_by=named.ca
            )
        )
    return tuple(files)


def _name(*place: str) -> str:
    return hashlib.sha1("\n".join(place).encode(), usedforsecurity=False).hexdigest() + ".pem"


def _negotiation(resource: Listener | Pool, fallback_ciphers: str) -> list[str]:
    ciphers = resource.tls_ciphers
    if ciphers and not _CIPHERS.fullmatch(ciphers):
        ciphers = fallback_ciphers
    forbidden = {one for one in tls.VERSIONS if one not in (resource.tls_versions or tls.VERSIONS)}
    words = []
    if ciphers:
        every = [one for one in ciphers.split(":") if one]
        suites = [one for one in every if one.startswith("TLS_")]
        older = [one for one in every if not one.startswith("TLS_")]
        words += ["ciphers", ":".join(older)] if older else []
        words += ["ciphersuites", ":".join(suites)] if suites else []
        if suites and not older:
            # It names no cipher that an older version could use.
            forbidden |= set(_OLDER_THAN_1_3)
    words += [_NO_VERSION[one] for one in tls.VERSIONS if one in forbidden]
    if agreed := _alpn(resource):
        words += ["alpn", agreed]
    return words


def _alpn(resource: Listener | Pool) -> str:
    return ",".join(one for one in resource.alpn_protocols or () if one in tls.ALPN_PROTOCOLS)
