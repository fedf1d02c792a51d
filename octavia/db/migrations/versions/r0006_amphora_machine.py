# SPDX-License-Identifier: Apache-2.0
"""What an amphora's machine has, as its agent said when it was ready.

Revision: 0006
After: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("amphora", sa.Column("memory_kb", sa.BigInteger(), nullable=True))
    op.add_column("amphora", sa.Column("isolated_cpus", sa.Integer(), nullable=True))
