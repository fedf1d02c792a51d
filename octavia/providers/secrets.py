# SPDX-License-Identifier: Apache-2.0
"""What references to certificates stand for, in the form that provider drivers take.

Contract: provider-drivers.md section 3. Nothing of it is kept, and nothing of it may reach a log.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from octavia.domain.errors import Invalid, OctaviaError, Terminal
from octavia.domain.tree import Listener, Pool
from octavia.drivers.certificates.tenant import NoStore, TenantCertificate, TenantCertificates

LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundSecrets:
    """Asks the store for what an object names.

    :param tolerant: what cannot be retrieved is left out, as for deletions; else it is an error.
    """

    store: TenantCertificates
    tolerant: bool = False

    def of_listener(self, one: Listener) -> dict[str, Any]:
        """The ``*_data`` of a listener, without those that it has no reference for.

        :raises Invalid: one cannot be retrieved. :raises Transient: the store could not be asked.
        """
        wanted: list[tuple[str, str | None, Callable[[str], Any]]] = [
            ("default_tls_container_data", one.default_tls_container_ref, self._certificate),
            ("client_ca_tls_container_data", one.client_ca_tls_container_ref, self._text),
            ("client_crl_container_data", one.client_crl_container_ref, self._text),
        ]
        found = self._found(wanted)
        sni = [self._ask(self._certificate, ref) for ref in one.sni_container_refs]
        if any(sni):
            found["sni_container_data"] = [data for data in sni if data]
        return found

    def of_pool(self, one: Pool) -> dict[str, Any]:
        """Likewise of a pool."""
        return self._found(
            [
                ("tls_container_data", one.tls_container_ref, self._certificate),
                ("ca_tls_container_data", one.ca_tls_container_ref, self._text),
                ("crl_container_data", one.crl_container_ref, self._text),
            ]
        )

    def _found(self, wanted: Iterable[tuple[str, str | None, Callable[[str], Any]]]) -> dict[str, Any]:
        asked = {name: self._ask(get, ref) for name, ref, get in wanted if ref}
        return {name: data for name, data in asked.items() if data is not None}

    def _ask(self, get: Callable[[str], Any], ref: str) -> Any:
        try:
            return get(ref)
        except OctaviaError as error:
            if self.tolerant:
                LOG.warning("What %s stands for is not told to the provider: %s", ref, error)
                return None
            if isinstance(error, Terminal):
                raise Invalid(f"Could not retrieve certificate: {ref}") from error
            raise

    def _certificate(self, ref: str) -> dict[str, Any]:
        return _as_dict(self.store.get_certificate(ref))

    def _text(self, ref: str) -> str:
        return self.store.get_secret(ref).decode()


def _as_dict(one: TenantCertificate) -> dict[str, Any]:
    return {
        "id": hashlib.sha1(one.certificate, usedforsecurity=False).hexdigest(),
        "primary_cn": one.names[0] if one.names else None,
        "certificate": one.certificate.decode(),
        "private_key": one.private_key.decode(),
        "passphrase": None,  # the key is not encrypted any more
        "intermediates": [each.decode() for each in one.intermediates],
    }


NO_SECRETS: Final = FoundSecrets(NoStore(), tolerant=True)
