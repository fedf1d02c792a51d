# SPDX-License-Identifier: Apache-2.0
"""What objects were when they last settled, while they are something else.

Revision: 0005
After: 0004
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

MYSQL: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    op.create_table(
        "settled_form",
        sa.Column("object_id", sa.String(length=36), nullable=False),
        sa.Column("load_balancer_id", sa.String(length=36), nullable=False),
        sa.Column("form", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("object_id"),
        **MYSQL,
    )
    op.create_index("ix_settled_form_load_balancer_id", "settled_form", ["load_balancer_id"])
