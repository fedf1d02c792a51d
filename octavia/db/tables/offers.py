# SPDX-License-Identifier: Apache-2.0
"""The tables of what operators offer: flavors and availability zones."""

from typing import Final

from sqlalchemy import Column, ForeignKey, String

from octavia.db.tables import columns

PLACEHOLDER: Final = "00000000-0000-0000-0000-000000000000"

flavor_profile = columns.table(
    "flavor_profile",
    columns.identity(),
    Column("name", String(255), nullable=False),
    Column("provider_name", String(255), nullable=False),
    Column("flavor_data", String(4096), nullable=False),
)

flavor = columns.table(
    "flavor",
    columns.identity(),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", String(255)),
    columns.enabled(),
    Column("flavor_profile_id", String(36), ForeignKey("flavor_profile.id"), nullable=False, index=True),
)

availability_zone_profile = columns.table(
    "availability_zone_profile",
    columns.identity(),
    Column("name", String(255), nullable=False),
    Column("provider_name", String(255), nullable=False),
    Column("availability_zone_data", String(4096), nullable=False),
)

availability_zone = columns.table(
    "availability_zone",
    Column("name", String(255), primary_key=True),
    Column("description", String(255)),
    columns.enabled(),
    Column(
        "availability_zone_profile_id",
        String(36),
        ForeignKey("availability_zone_profile.id"),
        nullable=False,
        index=True,
    ),
)
