# SPDX-License-Identifier: Apache-2.0
"""``noop_cert_generator``: certificates for agents that nobody will ever talk to.

To be used with ``amphora_noop_driver``; no CA and no key is needed for it. Tenants' certificates are not
here.
"""

from datetime import timedelta

from oslo_config import cfg

from octavia.domain.clock import Clock, SystemClock
from octavia.drivers.certificates.contract import IssuedCertificate


class NoopAuthority:
    """Implements :class:`octavia.drivers.certificates.contract.AmphoraCertificates`."""

    def __init__(self, conf: cfg.ConfigOpts, clock: Clock | None = None) -> None:
        self._validity = timedelta(seconds=conf.certificates.cert_validity_time)
        self._clock = clock or SystemClock()

    def issue(self, amphora_id: str) -> IssuedCertificate:
        """See the contract."""
        return IssuedCertificate(
            certificate=f"no certificate of {amphora_id}\n".encode(),
            private_key=b"no key\n",
            expires_at=self._clock.now() + self._validity,
        )

    @property
    def client_ca(self) -> bytes:
        """See the contract."""
        return b"no CA\n"
