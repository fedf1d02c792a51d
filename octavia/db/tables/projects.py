# SPDX-License-Identifier: Apache-2.0
"""The tables of how much a project may have, and of what it is about to get."""

from sqlalchemy import Column, Integer, String

from octavia.db.tables import columns

quotas = columns.table(
    "quotas",
    Column("project_id", String(36), primary_key=True),
    *(
        Column(prefix + name, Integer)
        for prefix in ("", "in_use_")
        for name in (
            "health_monitor",
            "listener",
            "load_balancer",
            "member",
            "pool",
            "l7policy",
            "l7rule",
        )
    ),
)

reservation = columns.table(
    "reservation",
    columns.identity(),
    columns.project(),
    Column("expires_at", columns.Moment, nullable=False, index=True),
)
