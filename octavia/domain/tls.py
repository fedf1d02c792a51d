# SPDX-License-Identifier: Apache-2.0
"""What a request may say about TLS (contract: api.md section 7.7), and which secrets that names.

A secret is named by an opaque reference of whatever keeps it; an empty one means none. What a secret holds,
and whether it can be read, is not here: see :mod:`octavia.drivers.certificates`.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from octavia.domain.errors import Invalid
from octavia.domain.tree import ClientAuthentication, Listener, LoadBalancer, Pool, Protocol

VERSIONS: Final = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")  # oldest first
ALPN_PROTOCOLS: Final = ("h2", "http/1.1", "http/1.0")
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
_CIPHERS = re.compile(r"[A-Za-z0-9\-+!:@=_.]*")
TLS_LISTENERS: Final = frozenset({Protocol.TERMINATED_HTTPS, Protocol.PROMETHEUS})
_DATAGRAMS: Final = frozenset({Protocol.UDP, Protocol.SCTP})
_CERTIFICATES: Final = ("default_tls_container_ref", "sni_container_refs", "client_ca_tls_container_ref")
_POOL_REFS: Final = ("tls_container_ref", "ca_tls_container_ref", "crl_container_ref")
_LISTENER_REFS: Final = (*_CERTIFICATES, "client_crl_container_ref")

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """What the operator decides about TLS (contract: api.md section 21).

    :param listener_ciphers: of TERMINATED_HTTPS listeners that name none; its siblings likewise.
    :param minimum_version: the oldest that a request may name; None: any.
    """

    listener_ciphers: str = CIPHERS
    pool_ciphers: str = CIPHERS
    prohibited_ciphers: frozenset[str] = frozenset()
    listener_versions: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    pool_versions: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    minimum_version: str | None = None
    listener_alpn_protocols: tuple[str, ...] = ALPN_PROTOCOLS
    pool_alpn_protocols: tuple[str, ...] = ALPN_PROTOCOLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """The secrets that one object names.

    :param certificates: bundles of certificate and key, each once.
    :param ca: certificates of CAs; ``ca_field`` and ``crl_field`` are what the API calls the two.
    """

    certificates: tuple[str, ...] = ()
    ca: str | None = None
    crl: str | None = None
    ca_field: str = "client_ca_tls_container_ref"
    crl_field: str = "client_crl_container_ref"


def secrets_of_listener(listener: Listener) -> Secrets:
    """What it takes to serve it; the first certificate is for clients that name no server."""
    named = (listener.default_tls_container_ref, *listener.sni_container_refs)
    return Secrets(
        certificates=tuple(dict.fromkeys(ref for ref in named if ref)),
        ca=listener.client_ca_tls_container_ref or None,
        crl=listener.client_crl_container_ref or None,
    )


def secrets_of_pool(pool: Pool) -> Secrets:
    """What it takes to talk to its members."""
    return Secrets(
        certificates=(pool.tls_container_ref,) if pool.tls_container_ref else (),
        ca=pool.ca_tls_container_ref or None,
        crl=pool.crl_container_ref or None,
        ca_field="ca_tls_container_ref",
        crl_field="crl_container_ref",
    )


def secrets_of(lb: LoadBalancer) -> list[Secrets]:
    """What its listeners and pools name; nothing for those that name none."""
    every = [*map(secrets_of_listener, lb.listeners), *map(secrets_of_pool, lb.pools)]
    return [one for one in every if one.certificates or one.ca or one.crl]


def names_secrets(values: Values) -> bool:
    """Do the fields of a request name a secret?"""
    return any(values.get(name) for name in (*_LISTENER_REFS, *_POOL_REFS))


def listener_defaults(values: Values, policy: TlsPolicy) -> dict[str, Any]:
    """The fields of a new listener with what it does not say about TLS."""
    completed = dict(values)
    if completed["protocol"] is Protocol.TERMINATED_HTTPS:
        _fill(completed, policy.listener_ciphers, policy.listener_versions, policy.listener_alpn_protocols)
    return completed


def pool_defaults(values: Values, policy: TlsPolicy) -> dict[str, Any]:
    """The fields of a new pool with what it does not say about TLS."""
    completed = dict(values)
    if completed.get("tls_enabled"):
        _fill(completed, policy.pool_ciphers, policy.pool_versions, policy.pool_alpn_protocols)
    return completed


def _fill(
    values: dict[str, Any], ciphers: str, versions: Sequence[str], alpn_protocols: Sequence[str]
) -> None:
    defaults = {
        "tls_ciphers": ciphers,
        "tls_versions": tuple(versions),
        "alpn_protocols": tuple(alpn_protocols),
    }
    for name, default in defaults.items():
        if values.get(name) is None:
            values[name] = default


def check_new_listener(listener: Listener, policy: TlsPolicy) -> None:
    """:raises Invalid: a rule is broken."""
    written = frozenset(_LISTENER_REFS) | {"client_authentication", "tls_ciphers", "alpn_protocols"}
    written |= {"hsts_max_age", "hsts_include_subdomains", "hsts_preload"}
    versions = frozenset({"tls_versions"}) if _can_terminate(listener) else frozenset()
    check_listener(listener, written | versions, policy)


def check_listener(listener: Listener, written: Collection[str], policy: TlsPolicy) -> None:
    """The rules that concern what a request wrote.

    :param listener: as it is afterwards.
    :param written: names of fields.
    :raises Invalid: a rule is broken.
    """
    wrote = set(written)
    if wrote & set(_LISTENER_REFS):
        _check_refs(listener)
    asks = listener.client_authentication is not ClientAuthentication.NONE
    if "client_authentication" in wrote and asks and not listener.client_ca_tls_container_ref:
        raise _invalid(
            f"client_authentication {listener.client_authentication} needs a client_ca_tls_container_ref to"
            " check certificates of clients with."
        )
    _check_tls(listener, wrote, policy)
    _check_hsts(listener, wrote)


def _can_terminate(listener: Listener) -> bool:
    return listener.protocol in TLS_LISTENERS


def _check_refs(listener: Listener) -> None:
    named = [name for name in _CERTIFICATES if getattr(listener, name)]
    if named and listener.protocol in _DATAGRAMS:
        raise _invalid(f"{listener.protocol} listeners have no TLS and no header insertion.")
    if named and not _can_terminate(listener):
        raise _invalid(f"{', '.join(named)} is not allowed on listeners of protocol {listener.protocol}.")
    has_certificate = bool(listener.default_tls_container_ref or listener.sni_container_refs)
    if listener.protocol is Protocol.TERMINATED_HTTPS and not has_certificate:
        raise _invalid(
            "A TERMINATED_HTTPS listener needs default_tls_container_ref or sni_container_refs to name a"
            " certificate."
        )
    if listener.client_ca_tls_container_ref and not has_certificate:
        raise _invalid(
            "A client_ca_tls_container_ref needs a certificate with it: default_tls_container_ref or"
            " sni_container_refs."
        )
    if listener.client_crl_container_ref and not listener.client_ca_tls_container_ref:
        raise _invalid("A client_crl_container_ref needs a client_ca_tls_container_ref.")


def check_pool(pool: Pool, written: Collection[str], policy: TlsPolicy, *, is_new: bool) -> None:
    """The rules that concern what a request wrote.

    :param pool: as it is afterwards.
    :raises Invalid: a rule is broken.
    """
    wrote = set(written)
    wrote_either = bool({"ca_tls_container_ref", "crl_container_ref"} & wrote)
    if wrote_either and pool.crl_container_ref and not pool.ca_tls_container_ref:
        raise _invalid("A crl_container_ref needs a ca_tls_container_ref.")
    if is_new and not pool.tls_enabled:
        wrote -= {"tls_versions", "alpn_protocols"}
    _check_tls(pool, wrote, policy)


def _check_tls(resource: Listener | Pool, written: set[str], policy: TlsPolicy) -> None:
    if "tls_ciphers" in written and resource.tls_ciphers:
        _check_ciphers(resource.tls_ciphers, policy)
    if "tls_versions" in written and resource.tls_versions is not None:
        _check_versions(resource.tls_versions, policy)
    if "alpn_protocols" in written and resource.alpn_protocols == ():
        raise _invalid("alpn_protocols is an empty list; leave it out, or name some.")


def _check_ciphers(ciphers: str, policy: TlsPolicy) -> None:
    if not _CIPHERS.fullmatch(ciphers):
        raise _invalid(
            "tls_ciphers has characters that are not allowed; allowed are A-Z a-z 0-9 - + ! : @ = _ ."
        )
    prohibited = sorted(policy.prohibited_ciphers & set(ciphers.split(":")))
    if prohibited:
        raise _invalid(f"tls_ciphers names ciphers that are prohibited here: {', '.join(prohibited)}.")


def _check_versions(versions: Sequence[str], policy: TlsPolicy) -> None:
    if not versions:
        raise _invalid("tls_versions is an empty list; leave it out, or name some.")
    unknown = [one for one in versions if one not in VERSIONS]
    if unknown:
        raise _invalid(
            f"tls_versions has invalid items: {', '.join(unknown)}. Valid are {', '.join(VERSIONS)}."
        )
    if policy.minimum_version is None:
        return
    oldest = VERSIONS.index(policy.minimum_version)
    too_old = [one for one in versions if VERSIONS.index(one) < oldest]
    if too_old:
        raise _invalid(
            f"tls_versions has items below the minimum {policy.minimum_version}: {', '.join(too_old)}."
        )


def _check_hsts(listener: Listener, written: set[str]) -> None:
    if (
        "hsts_max_age" in written
        and listener.hsts_max_age is not None
        and listener.protocol is not Protocol.TERMINATED_HTTPS
    ):
        raise _invalid("hsts_max_age (HSTS) needs a listener of protocol TERMINATED_HTTPS.")
    flags = [name for name in ("hsts_include_subdomains", "hsts_preload") if getattr(listener, name)]
    if set(flags) & written and listener.hsts_max_age is None:
        raise _invalid(f"{', '.join(flags)} (HSTS) needs hsts_max_age.")


def _invalid(detail: str) -> Invalid:
    return Invalid(f"Validation failure: {detail}")
