# SPDX-License-Identifier: Apache-2.0
"""Flavors and availability zones, which tenants choose from, and the profiles behind them, which operators
write: two pairs of tables that are kept in the same way. Reading lists is in :mod:`octavia.db.views`.

Load balancers keep the name of what they were made with. What one of them uses cannot be deleted; those that
are DELETED are re-pointed to a placeholder that is nowhere shown.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from oslo_db.exception import DBDuplicateEntry

from octavia.db import tables as t
from octavia.domain.errors import Conflict, Invalid, NotFound
from octavia.domain.statuses import ProvisioningStatus

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """What an operator has written for a provider.

    :param data: the column of the JSON text.
    """

    noun: str
    table: sa.Table
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What a tenant chooses by its key.

    :param article: in the words of the message for a name that is taken.
    :param option: the field of a load balancer that names it, and the column of the same name.
    """

    noun: str
    article: str
    table: sa.Table
    key: str
    profiles: Profiles
    profile_id: str
    option: str

    @property
    def key_column(self) -> sa.Column[Any]:
        """Its primary key."""
        return self.table.c[self.key]


FLAVOR_PROFILES: Final = Profiles(noun="Flavor Profile", table=t.flavor_profile, data="flavor_data")
ZONE_PROFILES: Final = Profiles(
    noun="Availability Zone Profile", table=t.availability_zone_profile, data="availability_zone_data"
)
FLAVORS: Final = Offers(
    noun="Flavor",
    article="flavor",
    table=t.flavor,
    key="id",
    profiles=FLAVOR_PROFILES,
    profile_id="flavor_profile_id",
    option="flavor_id",
)
ZONES: Final = Offers(
    noun="Availability Zone",
    article="availability zone",
    table=t.availability_zone,
    key="name",
    profiles=ZONE_PROFILES,
    profile_id="availability_zone_profile_id",
    option="availability_zone",
)
_BY_PROFILES: Final = {FLAVOR_PROFILES.noun: FLAVORS, ZONE_PROFILES.noun: ZONES}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a tenant's choice means."""

    enabled: bool
    provider_name: str
    data: str


# Profiles


def insert_profile(tx: sa.Connection, profiles: Profiles, values: Values) -> None:
    """A new profile."""
    tx.execute(sa.insert(profiles.table).values(dict(values)))


def lock_profile(tx: sa.Connection, profiles: Profiles, profile_id: str) -> dict[str, Any]:
    """Its fields, nobody else changing or newly referring to it until this transaction ends.

    :raises NotFound: there is no such profile.
    """
    query = sa.select(profiles.table).where(profiles.table.c.id == profile_id).with_for_update()
    row = tx.execute(query).mappings().one_or_none()
    if row is None or profile_id == t.PLACEHOLDER:
        raise NotFound(profiles.noun, profile_id)
    return dict(row)


def update_profile(tx: sa.Connection, profiles: Profiles, profile_id: str, values: Values) -> None:
    """Change a profile that is locked.

    :raises Conflict: somebody refers to it, and more than its name would change.
    """
    if {profiles.data, "provider_name"} & set(values):
        _check_unreferenced(tx, profiles, profile_id)
    if values:
        tx.execute(sa.update(profiles.table).where(profiles.table.c.id == profile_id).values(dict(values)))


def delete_profile(tx: sa.Connection, profiles: Profiles, profile_id: str) -> None:
    """:raises Conflict: somebody refers to it. :raises NotFound: there is no such profile."""
    lock_profile(tx, profiles, profile_id)
    _check_unreferenced(tx, profiles, profile_id)
    tx.execute(sa.delete(profiles.table).where(profiles.table.c.id == profile_id))


def _check_unreferenced(tx: sa.Connection, profiles: Profiles, profile_id: str) -> None:
    offers = _BY_PROFILES[profiles.noun]
    query = sa.select(offers.key_column).where(offers.table.c[offers.profile_id] == profile_id).limit(1)
    if tx.execute(query).scalar() is not None:
        # "Flavor profile" is how it always was written here.
        raise _in_use("Flavor profile" if profiles is FLAVOR_PROFILES else profiles.noun, profile_id)


def _in_use(noun: str, key: str) -> Conflict:
    return Conflict(f"{noun} {key} is in use and cannot be modified.")


# Flavors and zones


def insert(tx: sa.Connection, offers: Offers, values: Values) -> None:
    """A new one.

    :raises Invalid: its profile does not exist.
    :raises Conflict: its name is taken.
    """
    profile_id = values[offers.profile_id]
    try:
        lock_profile(tx, offers.profiles, profile_id)
    except NotFound as error:
        raise Invalid(error.why) from None
    _write(tx, offers, sa.insert(offers.table).values(dict(values)), values["name"])


def update(tx: sa.Connection, offers: Offers, key: str, values: Values) -> None:
    """Change one.

    :raises NotFound: there is none of that key.
    :raises Conflict: its new name is taken.
    """
    _lock(tx, offers, key)
    if values:
        changed = sa.update(offers.table).where(offers.key_column == key).values(dict(values))
        _write(tx, offers, changed, values.get("name", ""))


def _write(tx: sa.Connection, offers: Offers, statement: sa.Insert | sa.Update, name: str) -> None:
    try:
        tx.execute(statement)
    except DBDuplicateEntry:
        raise Conflict(f"A {offers.article} of {name} already exists.") from None


def delete(tx: sa.Connection, offers: Offers, key: str) -> None:
    """Delete one that no load balancer uses.

    :raises NotFound: there is none of that key.
    :raises Conflict: a load balancer uses it.
    """
    _lock(tx, offers, key)
    lb = t.load_balancer
    uses, is_deleted = lb.c[offers.option] == key, lb.c.provisioning_status == ProvisioningStatus.DELETED
    if tx.execute(sa.select(lb.c.id).where(uses, ~is_deleted).limit(1)).scalar() is not None:
        raise _in_use(offers.noun, key)
    tx.execute(sa.update(lb).where(uses, is_deleted).values({offers.option: t.PLACEHOLDER}))
    tx.execute(sa.delete(offers.table).where(offers.key_column == key))


def _lock(tx: sa.Connection, offers: Offers, key: str) -> None:
    query = sa.select(offers.key_column).where(offers.key_column == key).with_for_update()
    if key == t.PLACEHOLDER or tx.execute(query).scalar() is None:
        raise NotFound(offers.noun, key)


def choose(tx: sa.Connection, offers: Offers, key: str) -> Chosen | None:
    """What a load balancer would get; None if there is none of that key."""
    profiles = offers.profiles.table
    query = (
        sa.select(offers.table.c.enabled, profiles.c.provider_name, profiles.c[offers.profiles.data])
        .join(profiles, profiles.c.id == offers.table.c[offers.profile_id])
        .where(offers.key_column == key, offers.key_column != t.PLACEHOLDER)
    )
    row = tx.execute(query).one_or_none()
    return Chosen(*row) if row else None


def data(tx: sa.Connection, offers: Offers, key: str | None) -> dict[str, Any]:
    """What is written for the provider about a load balancer's choice; empty if it has none."""
    chosen = choose(tx, offers, key) if key is not None else None
    return dict(json.loads(chosen.data)) if chosen else {}


def hold(tx: sa.Connection, offers: Offers, key: str) -> bool:
    """Keep it from being deleted until this transaction ends; False if it is gone already."""
    query = sa.select(offers.key_column).where(offers.key_column == key).with_for_update(read=True)
    return tx.execute(query).scalar() is not None
