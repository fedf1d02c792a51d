# SPDX-License-Identifier: Apache-2.0
"""What API and worker expect of whatever keeps tenants' certificates (contract: drivers.md section 7).

A secret is named by an opaque reference. What is in it is read by :mod:`octavia.drivers.certificates.pem`.
Certificates of amphorae are not here: see :mod:`octavia.drivers.certificates.contract`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from oslo_config import cfg

from octavia.domain.errors import Terminal


class Unretrievable(Terminal):
    """There is no such secret, or we may not read it: nobody is told which."""


class Unusable(Terminal):
    """The secret is there, and does not hold what it should; the text says what is wrong, without content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantCertificate:
    """A certificate with its key, all PEM, checked to belong together.

    :param private_key: not encrypted, in OpenSSL's traditional form where the kind of key has one.
    :param intermediates: the issuer first, then that one's issuer and so on.
    :param names: whom it is for, lower-case: the common name first, if it has one, then DNS names.
    :param expires_at: naive UTC; of the certificate itself.
    """

    certificate: bytes
    private_key: bytes
    intermediates: tuple[bytes, ...] = ()
    names: tuple[str, ...]
    expires_at: datetime

    @property
    def bundle(self) -> bytes:
        """One PEM file as HAProxy takes it (contract: data-plane.md section 3)."""
        parts = (self.certificate, self.private_key, *self.intermediates)
        return b"".join(part.strip() + b"\n" for part in parts)

    def __repr__(self) -> str:
        """Without the key: this may reach a log."""
        return f"TenantCertificate(names={self.names}, expires_at={self.expires_at.isoformat()})"


class TenantCertificates(Protocol):
    """Where tenants keep certificates. Reads only, safe for many threads, may be asked at any time."""

    def get_certificate(self, ref: str) -> TenantCertificate:
        """A certificate with its key.

        :raises Unretrievable: there is none of that name that we may read.
        :raises Unusable: it is no such thing, or one part does not belong to the other.
        :raises Transient: the store could not be asked.
        """

    def get_secret(self, ref: str) -> bytes:
        """A secret as it was stored: certificates of CAs, or a list of revoked certificates.

        :raises Unretrievable: there is none of that name that we may read.
        :raises Transient: the store could not be asked.
        """


def barbican(conf: cfg.ConfigOpts) -> "NoStore":
    """``barbican_cert_manager``: not served by this release, and the default of octavia.conf all the same."""
    del conf
    return NoStore()


class NoStore:
    """Implements :class:`TenantCertificates` where there is none: nothing can be retrieved."""

    def get_certificate(self, ref: str) -> TenantCertificate:
        """See the contract."""
        raise Unretrievable(f"There is no store of certificates here, so {ref} cannot be retrieved.")

    def get_secret(self, ref: str) -> bytes:
        """See the contract."""
        raise Unretrievable(f"There is no store of certificates here, so {ref} cannot be retrieved.")
