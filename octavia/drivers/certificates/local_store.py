# SPDX-License-Identifier: Apache-2.0
"""``local_cert_manager``: tenants' certificates on this machine's disk, encrypted.

One file a secret, AES-256-GCM, its reference authenticated with it so that files cannot change places. The
key lies beside the directory, not in it: a copy of the directory alone says nothing. The directory has mode
0700, every file 0600.
Who may use which secret is not here: whoever can ask the API of a standalone installation is its admin.
"""

import base64
import json
import logging
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from oslo_config import cfg

from octavia.domain.clock import Clock, SystemClock
from octavia.domain.errors import Terminal
from octavia.drivers.certificates import pem
from octavia.drivers.certificates.tenant import TenantCertificate, Unretrievable, Unusable
from octavia.drivers.local.storage import locked, make_private_directory, write_private

LOG = logging.getLogger(__name__)

_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_SUFFIX: Final = ".secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """A secret, and what is known of it.

    :param certificate: what it holds, if that is a certificate with its key.
    :param payload: what it holds otherwise.
    :param expires_at: naive UTC, like the other moments; None where nothing in it expires.
    """

    ref: str
    name: str
    created_at: datetime
    updated_at: datetime | None = None
    certificate: TenantCertificate | None = None
    payload: bytes | None = None

    @property
    def kind(self) -> str:
        """What ``octavia-standalone secret list`` calls it."""
        if self.certificate:
            return "certificate"
        return "CRL" if b"BEGIN X509 CRL" in (self.payload or b"") else "CA"

    @property
    def expires_at(self) -> datetime | None:
        """When nothing in it is valid any more, naive UTC; None where nothing expires."""
        if self.certificate:
            return self.certificate.expires_at
        return pem.expiry_of_authorities(self.payload or b"")

    def __repr__(self) -> str:
        """Without content: this may reach a log."""
        return f"StoredSecret(ref={self.ref}, name={self.name!r}, kind={self.kind})"


class LocalSecrets:
    """Implements :class:`octavia.drivers.certificates.tenant.TenantCertificates`; keeps, too.

    :param directory: made at the first secret.
    """

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        self._directory = directory
        self._key_file = directory.with_name(f"{directory.name}.key")
        self._clock = clock or SystemClock()

    # --- TenantCertificates ---------------------------------------------------------------------

    def get_certificate(self, ref: str) -> TenantCertificate:
        """See the contract."""
        found = self.read(ref)
        if found.certificate is None:
            raise Unusable(f"Secret {ref} holds no certificate with its key.")
        return found.certificate

    def get_secret(self, ref: str) -> bytes:
        """See the contract. Of a certificate it is the certificate alone: no key leaves this way."""
        found = self.read(ref)
        return found.certificate.certificate if found.certificate else found.payload or b""

    # --- keeping --------------------------------------------------------------------------------

    def read(self, ref: str) -> StoredSecret:
        """:raises Unretrievable: there is none, or its file or the key is damaged."""
        path = self._path(ref)
        try:
            sealed = path.read_bytes()
        except FileNotFoundError:
            raise Unretrievable(f"There is no secret {ref}.") from None
        try:
            opened = AESGCM(self._key()).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], ref.encode())
        except (InvalidTag, ValueError, FileNotFoundError) as error:
            LOG.warning("%s cannot be decrypted with %s", path, self._key_file)
            raise Unretrievable(f"Secret {ref} cannot be decrypted.") from error
        return _from_json(ref, json.loads(opened))

    def list(self) -> "list[StoredSecret]":
        """All, the oldest first.

        :raises Unretrievable: one cannot be read.
        """
        names = self._directory.glob(f"*{_SUFFIX}") if self._directory.exists() else ()
        return sorted((self.read(path.stem) for path in names), key=lambda one: (one.created_at, one.ref))

    def add(
        self, name: str, *, certificate: TenantCertificate | None = None, payload: bytes | None = None
    ) -> StoredSecret:
        """Keep something new.

        :raises Unusable: it has expired.
        """
        secret = StoredSecret(
            ref=str(uuid.uuid4()),
            name=name,
            created_at=self._clock.now(),
            certificate=certificate,
            payload=payload,
        )
        self._write(secret)
        return secret

    def replace(
        self, ref: str, *, certificate: TenantCertificate | None = None, payload: bytes | None = None
    ) -> StoredSecret:
        """Keep other content under the same reference.

        :raises Unretrievable: there is no such secret.
        :raises Unusable: it has expired, or is another kind of thing.
        """
        before = self.read(ref)
        after = replace(before, certificate=certificate, payload=payload, updated_at=self._clock.now())
        if before.kind != after.kind:
            raise Unusable(f"Secret {ref} is a {before.kind} and cannot become a {after.kind}.")
        self._write(after)
        return after

    def remove(self, ref: str) -> None:
        """:raises Unretrievable: there is no such secret."""
        try:
            self._path(ref).unlink()
        except FileNotFoundError:
            raise Unretrievable(f"There is no secret {ref}.") from None

    def _write(self, secret: StoredSecret) -> None:
        expires_at = secret.expires_at
        if expires_at is not None and expires_at <= self._clock.now():
            raise Unusable(f"It expired on {expires_at.isoformat(sep=' ')} UTC.")
        make_private_directory(self._directory)
        with locked(self._directory / "lock"):
            nonce = os.urandom(_NONCE_BYTES)
            sealed = AESGCM(self._ensure_key()).encrypt(nonce, _to_json(secret), secret.ref.encode())
            write_private(self._path(secret.ref), nonce + sealed)

    def _path(self, ref: str) -> Path:
        """A path is made of it, so it is a UUID in its usual form or nothing."""
        try:
            known = str(uuid.UUID(ref)) == ref
        except ValueError:
            known = False
        if not known:
            raise Unretrievable(f"There is no secret {ref}.")
        return self._directory / f"{ref}{_SUFFIX}"

    def _key(self) -> bytes:
        return self._key_file.read_bytes()

    def _ensure_key(self) -> bytes:
        """:raises Terminal: there are secrets, and their key is gone."""
        try:
            return self._key()
        except FileNotFoundError:
            if any(self._directory.glob(f"*{_SUFFIX}")):
                raise Terminal(
                    f"{self._key_file} is gone, and without it the secrets in {self._directory} cannot be"
                    " read: bring it back, or remove them."
                ) from None
            write_private(self._key_file, os.urandom(_KEY_BYTES))
            return self._key()


def from_config(conf: cfg.ConfigOpts) -> LocalSecrets:
    """The store in ``[certificates] storage_path``."""
    return LocalSecrets(Path(conf.certificates.storage_path))


def _to_json(secret: StoredSecret) -> bytes:
    document: dict[str, Any] = {
        "name": secret.name,
        "created_at": secret.created_at.isoformat(),
        "updated_at": secret.updated_at.isoformat() if secret.updated_at else None,
        "payload": base64.b64encode(secret.payload or b"").decode(),
        "certificate": _certificate_to_json(secret.certificate) if secret.certificate else None,
    }
    return json.dumps(document).encode()


def _certificate_to_json(certificate: TenantCertificate) -> dict[str, Any]:
    return {
        "certificate": certificate.certificate.decode(),
        "private_key": certificate.private_key.decode(),
        "intermediates": [one.decode() for one in certificate.intermediates],
        "names": list(certificate.names),
        "expires_at": certificate.expires_at.isoformat(),
    }


def _from_json(ref: str, document: Mapping[str, Any]) -> StoredSecret:
    certificate = document["certificate"]
    updated_at = document["updated_at"]
    return StoredSecret(
        ref=ref,
        name=document["name"],
        created_at=datetime.fromisoformat(document["created_at"]),
        updated_at=datetime.fromisoformat(updated_at) if updated_at else None,
        certificate=_certificate_from_json(certificate) if certificate else None,
        payload=None if certificate else base64.b64decode(document["payload"]),
    )


def _certificate_from_json(document: Mapping[str, Any]) -> TenantCertificate:
    # Nothing is parsed again: that would cost a worker milliseconds with every push, and what was
    # decrypted is what we wrote.
    return TenantCertificate(
        certificate=document["certificate"].encode(),
        private_key=document["private_key"].encode(),
        intermediates=tuple(one.encode() for one in document["intermediates"]),
        names=tuple(document["names"]),
        expires_at=datetime.fromisoformat(document["expires_at"]),
    )
