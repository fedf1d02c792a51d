# SPDX-License-Identifier: Apache-2.0
"""Are the secrets that a request names there, and do they hold what they should?

Contract: api.md section 7.7.

Asked after all rules and outside of transactions, since a store of secrets may be far away. What is in the
secrets goes nowhere from here: the worker reads them again.
"""

from collections.abc import Iterable

from octavia.domain.errors import Invalid, Terminal
from octavia.domain.tls import Secrets
from octavia.drivers.certificates import pem
from octavia.drivers.certificates.tenant import TenantCertificates, Unretrievable, Unusable


class Unverified(Exception):
    """Raised in a transaction that has to end before it can go on.

    :ivar secrets: what is to be verified meanwhile.
    """

    def __init__(self, secrets: frozenset[Secrets]) -> None:
        super().__init__("secrets are to be verified first")
        self.secrets = secrets


def verify(store: TenantCertificates, secrets: Iterable[Secrets]) -> None:
    """:raises Invalid: with every reference that cannot be retrieved, or with what is wrong in one.
    :raises Transient: the store could not be asked."""
    wanted = list(secrets)
    missing = list(dict.fromkeys(ref for one in wanted for ref in _missing(store, one)))
    if missing:
        raise Invalid(f"Could not retrieve certificate: {', '.join(missing)}")
    for one in wanted:
        try:
            _check_authorities(store, one)
        except Unusable as error:
            raise Invalid(f"Validation failure: {error.why}") from error


def _missing(store: TenantCertificates, secrets: Secrets) -> list[str]:
    missing = []
    for ref in secrets.certificates:
        try:
            store.get_certificate(ref)
        except Unretrievable:
            missing.append(ref)
        except Terminal as error:
            raise Invalid(f"Validation failure: certificate {ref}: {error.why}") from error
    for secret in filter(None, (secrets.ca, secrets.crl)):
        try:
            store.get_secret(secret)
        except Unretrievable:
            missing.append(secret)
    return missing


def _check_authorities(store: TenantCertificates, secrets: Secrets) -> None:
    if secrets.ca is None:
        return
    authorities = pem.authorities(store.get_secret(secrets.ca), secrets.ca_field)
    if secrets.crl is not None:
        pem.revocations(store.get_secret(secrets.crl), authorities, secrets.crl_field)
