# SPDX-License-Identifier: Apache-2.0
"""What the tables are made of: types, and columns that several of them have."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    MetaData,
    String,
    Table,
    TypeDecorator,
    false,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect

# Microseconds everywhere: MySQL's DATETIME has whole seconds unless told otherwise, and leases
# and the order of creation need finer ones.
Moment: Final = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

metadata: Final = MetaData()


class Words(TypeDecorator[tuple[str, ...]]):
    """A sequence of words without commas, kept as one text with commas between them."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """A text is what a filter compares with."""
        del dialect
        return value if value is None or isinstance(value, str) else ",".join(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...] | None:
        """The words again."""
        del dialect
        return None if value is None else tuple(filter(None, value.split(",")))


def table(name: str, *columns: Any) -> Table:
    """One of ours."""
    # Names may hold any Unicode, and filters compare them exactly: MySQL's defaults do neither.
    return Table(name, metadata, *columns, mysql_charset="utf8mb4", mysql_collate="utf8mb4_bin")


def identity() -> Column[str]:
    """The primary key: a UUID, lower case and dashed."""
    return Column("id", String(36), primary_key=True)


def project() -> Column[str]:
    """Whose it is."""
    return Column("project_id", String(36), index=True)


def statuses() -> tuple[Column[str], Column[str]]:
    """Written by :mod:`octavia.db.statuses` alone."""
    return (
        Column("provisioning_status", String(16), nullable=False),
        Column("operating_status", String(16), nullable=False),
    )


def enabled() -> Column[bool]:
    """The API's ``admin_state_up``."""
    return Column("enabled", Boolean, nullable=False)


def times() -> tuple[Column[object], Column[object]]:
    """Naive UTC."""
    return Column("created_at", Moment), Column("updated_at", Moment)


def generation() -> Column[int]:
    """The load balancer's generation of the last write that touched the row."""
    return Column("generation", BigInteger, nullable=False, server_default=text("0"))


def tls() -> tuple[Column[Any], ...]:
    """How one end speaks TLS."""
    return (
        Column("tls_certificate_id", String(255)),
        Column("tls_ciphers", String(2048)),
        Column("tls_versions", Words(512)),
        Column("alpn_protocols", Words(512)),
    )


def delete_requested() -> Column[bool]:
    """Is it on its way out?"""
    # A failed delete shows ERROR and stays wanted, so the status alone does not tell.
    return Column("delete_requested", Boolean, nullable=False, server_default=false())
