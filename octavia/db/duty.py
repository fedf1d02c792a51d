# SPDX-License-Identifier: Apache-2.0
"""What only one process at a time may do: judging silence. A duty is held for a while, then anybody's."""

from datetime import datetime, timedelta
from functools import cache
from typing import Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.upsert import upsert

JUDGING_SILENCE: Final = "judging-silence"
_NOBODY_SINCE: Final = datetime(1970, 1, 1)


def hold(tx: sa.Connection, name: str, owner: str, now: datetime, duration: timedelta) -> bool:
    """Take a duty, or keep it; False if somebody else has it.

    True also locks it until the transaction ends, so that nobody else can take it meanwhile.
    """
    free = sa.or_(t.duty.c.owner == owner, t.duty.c.until < now)
    mine = sa.update(t.duty).where(t.duty.c.name == name, free).values(owner=owner, until=now + duration)
    if tx.execute(mine).rowcount == 1:
        return True
    tx.execute(_exists(tx.dialect.name), [{"name": name, "owner": "", "until": _NOBODY_SINCE}])
    return tx.execute(mine).rowcount == 1


def give_up(tx: sa.Connection, name: str, owner: str) -> None:
    """Let somebody else have it; not having it is a success."""
    tx.execute(
        sa.update(t.duty)
        .where(t.duty.c.name == name, t.duty.c.owner == owner)
        .values(until=_NOBODY_SINCE, owner="")
    )


@cache
def _exists(dialect: str) -> sa.Executable:
    return upsert(dialect, t.duty, lambda _incoming: {"owner": t.duty.c.owner})
