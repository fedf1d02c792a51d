# SPDX-License-Identifier: Apache-2.0
"""The tables of how far the controller has come: what there is to do, who does it, what happened and why."""

from sqlalchemy import JSON, BigInteger, Column, Integer, String, Text, text

from octavia.db.tables import columns

work = columns.table(
    "work",
    Column("load_balancer_id", String(36), primary_key=True),
    Column("due_at", columns.Moment, nullable=False, index=True),
    Column("lease_owner", String(255)),
    Column("lease_until", columns.Moment),
    # Passes since the last one that got further; sets the back-off.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # Time of the oldest write that is not live yet; the deadline runs from here.
    Column("wanted_since", columns.Moment, nullable=False),
    # Rises with every announcement, so that one made during a pass is not taken for done.
    Column("announced", BigInteger, nullable=False, server_default=text("0")),
)

provider_call = columns.table(
    "provider_call",
    columns.identity(),
    Column("load_balancer_id", String(36), nullable=False, index=True),
    # Of the load balancer, with this change.
    Column("generation", BigInteger, nullable=False),
    Column("method", String(64), nullable=False),
    Column("since", columns.Moment, nullable=False, index=True),
)

duty = columns.table(
    "duty",
    Column("name", String(36), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("until", columns.Moment, nullable=False),
)

status_reason = columns.table(
    "status_reason",
    Column("object_id", String(36), primary_key=True),
    Column("load_balancer_id", String(36), nullable=False, index=True),
    Column("code", String(64), nullable=False),
    Column("sentence", Text, nullable=False),
    Column("since", columns.Moment, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_try", columns.Moment),
)

settled_form = columns.table(
    "settled_form",
    Column("object_id", String(36), primary_key=True),
    Column("load_balancer_id", String(36), nullable=False, index=True),
    Column("form", JSON, nullable=False),
)

event = columns.table(
    "event",
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("load_balancer_id", String(36), nullable=False, index=True),
    Column("at", columns.Moment, nullable=False),
    Column("text", Text, nullable=False),
)
