# SPDX-License-Identifier: Apache-2.0
"""Tenants' certificates in memory, for tests and the simulator."""

import uuid

from octavia.drivers.certificates.tenant import TenantCertificate, Unretrievable, Unusable
from octavia.drivers.faults import Faults, Faulty, gated


class MemoryTenantCertificates(Faulty):
    """Implements :class:`octavia.drivers.certificates.tenant.TenantCertificates`."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self._secrets: dict[str, TenantCertificate | bytes] = {}

    def keep(self, content: TenantCertificate | bytes, ref: str | None = None) -> str:
        """Keep something; its reference.

        :param ref: of what it replaces, or that it shall have.
        """
        ref = ref or str(uuid.uuid4())
        self._secrets[ref] = content
        return ref

    def forget(self, ref: str) -> None:
        """Let a secret be gone."""
        del self._secrets[ref]

    @gated
    def get_certificate(self, ref: str) -> TenantCertificate:
        """See the contract."""
        found = self._get(ref)
        if isinstance(found, bytes):
            raise Unusable(f"Secret {ref} holds no certificate with its key.")
        return found

    @gated
    def get_secret(self, ref: str) -> bytes:
        """See the contract."""
        found = self._get(ref)
        return found if isinstance(found, bytes) else found.certificate

    def _get(self, ref: str) -> TenantCertificate | bytes:
        try:
            return self._secrets[ref]
        except KeyError:
            raise Unretrievable(f"There is no secret {ref}.") from None
