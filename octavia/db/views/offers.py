# SPDX-License-Identifier: Apache-2.0
"""Flavors, availability zones and their profiles, as the API shows them."""

from typing import Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.views.shape import View


def _offers(noun: str, table: sa.Table, key: str, *names: str) -> View:
    """Flavors, availability zones and their profiles: no project, no tags, no times."""
    return View(
        noun=noun,
        source=table,
        id=table.c[key],
        key=key,
        project=None,
        columns={name: table.c[name] for name in names},
        hidden={},
        order=(table.c[key],),
        alive=table.c[key] != t.PLACEHOLDER,
        tagged=False,
    )


FLAVOR: Final = _offers("Flavor", t.flavor, "id", "id", "name", "description", "enabled", "flavor_profile_id")
FLAVOR_PROFILE: Final = _offers(
    "Flavor Profile", t.flavor_profile, "id", "id", "name", "provider_name", "flavor_data"
)
AVAILABILITY_ZONE: Final = _offers(
    "Availability Zone",
    t.availability_zone,
    "name",
    *("name", "description", "enabled", "availability_zone_profile_id"),
)
AVAILABILITY_ZONE_PROFILE: Final = _offers(
    "Availability Zone Profile",
    t.availability_zone_profile,
    "id",
    *("id", "name", "provider_name", "availability_zone_data"),
)
