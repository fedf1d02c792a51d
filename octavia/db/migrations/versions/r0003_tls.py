# SPDX-License-Identifier: Apache-2.0
"""TLS of listeners and pools.

Revision: 0003
After: 0002
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

MYSQL: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def _of_both() -> list[sa.Column[Any]]:
    return [
        sa.Column("tls_certificate_id", sa.String(length=255), nullable=True),
        sa.Column("tls_ciphers", sa.String(length=2048), nullable=True),
        sa.Column("tls_versions", sa.String(length=512), nullable=True),
        sa.Column("alpn_protocols", sa.String(length=512), nullable=True),
    ]


def upgrade() -> None:
    for column in (
        *_of_both(),
        sa.Column("client_ca_tls_certificate_id", sa.String(length=255), nullable=True),
        sa.Column("client_authentication", sa.String(length=10), server_default="NONE", nullable=False),
        sa.Column("client_crl_container_id", sa.String(length=255), nullable=True),
        sa.Column("hsts_max_age", sa.Integer(), nullable=True),
        sa.Column("hsts_include_subdomains", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("hsts_preload", sa.Boolean(), server_default=sa.false(), nullable=False),
    ):
        op.add_column("listener", column)
    for column in (
        *_of_both(),
        sa.Column("ca_tls_certificate_id", sa.String(length=255), nullable=True),
        sa.Column("crl_container_id", sa.String(length=255), nullable=True),
        sa.Column("tls_enabled", sa.Boolean(), server_default=sa.false(), nullable=False),
    ):
        op.add_column("pool", column)
    op.create_table(
        "sni",
        sa.Column("listener_id", sa.String(length=36), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("tls_container_id", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["listener_id"], ["listener.id"]),
        sa.PrimaryKeyConstraint("listener_id", "position"),
        **MYSQL,
    )
