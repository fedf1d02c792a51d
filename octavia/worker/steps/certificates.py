# SPDX-License-Identifier: Apache-2.0
"""What is in the files that a configuration names: read from the tenants' store, written in one form."""

from octavia.dataplane.haproxy.tls import Kind, SecretFile
from octavia.drivers.certificates import pem
from octavia.drivers.certificates.tenant import TenantCertificates


def content(store: TenantCertificates, file: SecretFile) -> bytes:
    """One file.

    :raises Terminal: there is no such secret, or it does not hold what it should.
    :raises Transient: the store could not be asked.
    """
    if file.kind is Kind.CERTIFICATE:
        return store.get_certificate(file.ref).bundle
    if file.signed_by is None:
        return pem.authorities(store.get_secret(file.ref), f"Secret {file.ref}")
    authorities = pem.authorities(store.get_secret(file.signed_by), f"Secret {file.signed_by}")
    return pem.revocations(store.get_secret(file.ref), authorities, f"Secret {file.ref}")
