# SPDX-License-Identifier: Apache-2.0
"""Alembic's way in: runs the revisions on the connection that the caller passes."""

from alembic import context

from octavia.db import tables

connection = context.config.attributes.get("connection")
if connection is None:  # octavia-db-manage upgrade --sql
    context.configure(
        dialect_name=context.config.attributes["dialect_name"],
        target_metadata=tables.metadata,
        literal_binds=True,
    )
else:
    context.configure(connection=connection, target_metadata=tables.metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
