# SPDX-License-Identifier: Apache-2.0
"""What the worker expects of whatever signs the certificates of amphorae."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCertificate:
    """A certificate with its key, both PEM; ``expires_at`` is naive UTC."""

    certificate: bytes
    private_key: bytes
    expires_at: datetime

    @property
    def bundle(self) -> bytes:
        """One PEM: the certificate, then the key, as the agent reads it."""
        return self.certificate + self.private_key

    def __repr__(self) -> str:
        """Without the key: this may reach a log."""
        return f"IssuedCertificate(expires_at={self.expires_at.isoformat()})"


class AmphoraCertificates(Protocol):
    """The CA of the amphorae (contract: drivers.md section 7)."""

    def issue(self, amphora_id: str) -> IssuedCertificate:
        """A fresh server certificate whose CN and DNS name are the amphora's id.

        :raises Transient: the CA could not be asked.
        """

    @property
    def client_ca(self) -> bytes:
        """PEM of the CA that signs the controllers' client certificates."""
