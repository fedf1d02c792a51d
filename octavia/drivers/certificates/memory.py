# SPDX-License-Identifier: Apache-2.0
"""Certificates in memory: numbered texts that expire, for worlds in which nobody speaks TLS."""

from datetime import timedelta
from itertools import count

from octavia.domain.clock import Clock
from octavia.drivers.certificates.contract import IssuedCertificate
from octavia.drivers.faults import Faults, Faulty, gated


class MemoryCertificates(Faulty):
    """Implements :class:`octavia.drivers.certificates.contract.AmphoraCertificates`."""

    def __init__(
        self, clock: Clock, validity: timedelta = timedelta(days=30), faults: Faults | None = None
    ) -> None:
        self.faults = faults or Faults()
        self._clock = clock
        self._validity = validity
        self._serials = count(1)

    @gated
    def issue(self, amphora_id: str) -> IssuedCertificate:
        """See the contract."""
        serial = next(self._serials)
        return IssuedCertificate(
            certificate=f"certificate {serial} of {amphora_id}\n".encode(),
            private_key=f"key {serial} of {amphora_id}\n".encode(),
            expires_at=self._clock.now() + self._validity,
        )

    @property
    def client_ca(self) -> bytes:
        """See the contract."""
        return b"certificate of the controllers' CA\n"
