# SPDX-License-Identifier: Apache-2.0
"""Section ``[certificates]``: who signs, and who keeps, certificates."""

from os import environ
from typing import Final

from oslo_config import cfg, types

GROUP: Final = "certificates"

OPTIONS: Final = (
    cfg.StrOpt(
        "cert_manager",
        default="barbican_cert_manager",
        help="Entry point in octavia.cert_manager (tenant certificates).",
    ),
    cfg.StrOpt(
        "cert_generator",
        default="local_cert_generator",
        help="Entry point in octavia.cert_generator (amphora certificates).",
    ),
    cfg.StrOpt("barbican_auth", default="barbican_acl_auth", help="Entry point in octavia.barbican_auth."),
    cfg.StrOpt("service_name", help="Registered, not read."),
    cfg.StrOpt(
        "endpoint", help="Key-manager URL used for the client with the user's token; unset = catalog."
    ),
    cfg.StrOpt("region_name", help="Region of the key manager."),
    cfg.StrOpt("endpoint_type", default="publicURL", help="Interface of the key manager."),
    cfg.StrOpt("ca_certificates_file", help="CA bundle for the user-token session."),
    cfg.BoolOpt("insecure", default=False, help="Registered, not read."),
    cfg.StrOpt(
        "ca_certificate",
        default=environ.get("OS_OCTAVIA_TLS_CA_CERT", "/etc/ssl/certs/ssl-cert-snakeoil.pem"),
        sample_default="/etc/ssl/certs/ssl-cert-snakeoil.pem",
        help="CA that signs amphora certificates.",
    ),
    cfg.StrOpt(
        "ca_private_key",
        default=environ.get("OS_OCTAVIA_TLS_CA_KEY", "/etc/ssl/private/ssl-cert-snakeoil.key"),
        sample_default="/etc/ssl/private/ssl-cert-snakeoil.key",
        help="Its key.",
    ),
    cfg.StrOpt(
        "ca_private_key_passphrase",
        default=environ.get("OS_OCTAVIA_CA_KEY_PASS"),
        sample_default=None,
        secret=True,
        help="Its passphrase.",
    ),
    cfg.ListOpt(
        "server_certs_key_passphrase",
        default=[environ.get("TLS_PASS_AMPS_DEFAULT", "insecure-key-do-not-use-this-key")],
        sample_default="insecure-key-do-not-use-this-key",
        item_type=types.String(regex=r"^[A-Za-z0-9\-_=]{32}$"),
        required=True,
        secret=True,
        help="Fernet keys for key material kept in flow stores and RPC; each item is base64url-encoded"
        " to form the Fernet key; the first encrypts, all decrypt (rotation: prepend).",
    ),
    cfg.StrOpt(
        "signing_digest",
        default=environ.get("OS_OCTAVIA_CA_SIGNING_DIGEST", "sha256"),
        sample_default="sha256",
        help="Hash name.",
    ),
    cfg.IntOpt("cert_validity_time", default=2592000, help="Amphora certificate lifetime, seconds."),
    cfg.StrOpt(
        "storage_path",
        default=environ.get("OS_OCTAVIA_TLS_STORAGE", "/var/lib/octavia/certificates/"),
        sample_default="/var/lib/octavia/certificates/",
        help="Directory of local_cert_manager (not emitted in the sample file).",
    ),
)
