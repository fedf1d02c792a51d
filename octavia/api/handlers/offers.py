# SPDX-License-Identifier: Apache-2.0
"""Flavors, availability zones and their profiles: four resources of one manner (contract: api.md sections 14
to 17). What a choice does to a load balancer is in :mod:`octavia.api.placement`.
"""

from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from octavia.api import placement, query, reading
from octavia.api.schemas.fields import Schema
from octavia.api.schemas.offers import (
    AVAILABILITY_ZONE,
    AVAILABILITY_ZONE_PROFILE,
    FLAVOR,
    FLAVOR_PROFILE,
)
from octavia.api.service import Answer, Call
from octavia.db import offers, views
from octavia.db.engine import Connection


@dataclass(frozen=True, slots=True)
class _Resource:
    """What the four have in common."""

    view: views.View
    schema: Schema
    plural: str
    links: str
    policy: str

    def index(self, call: Call) -> Answer:
        """GET on the collection."""
        permission = f"{self.policy}:get_all"
        return reading.index(
            call, permission, self.view, self.schema, self.plural, links=self.links, of_projects=False
        )

    def show(self, call: Call, key: str) -> Answer:
        """GET on one of them."""
        return reading.show(call, f"{self.policy}:get_one", self.view, self.schema, key)

    def _authorize(self, call: Call, action: str, key: str | None = None) -> None:
        """They are of no project: what counts is the caller's own."""
        if key is not None:
            with call.service.database.read() as tx:
                views.check_exists(tx, self.view, key)
        call.authorize(f"{self.policy}:{action}", call.identity.project_id)

    def _answer(self, call: Call, code: int, key: str) -> Answer:
        with call.service.database.read() as tx:
            record, _ = views.show(tx, self.view, key)
        return Answer(code, {self.schema.root: self.schema.show(record)})


@dataclass(frozen=True, slots=True)
class OfferHandlers(_Resource):
    """Flavors, availability zones."""

    offers: offers.Offers

    def create(self, call: Call) -> Answer:
        """POST on the collection."""
        values = call.create_body(self.schema)
        self._authorize(call, "post")
        if self.offers.key == "id":
            values["id"] = str(uuid4())
        call.service.database.write(lambda tx: offers.insert(tx, self.offers, values))
        return self._answer(call, 201, values[self.offers.key])

    def update(self, call: Call, key: str) -> Answer:
        """PUT on one of them."""
        values = call.update_body(self.schema)
        self._authorize(call, "put", key)
        call.service.database.write(lambda tx: offers.update(tx, self.offers, key, values))
        return self._answer(call, 200, key)

    def delete(self, call: Call, key: str) -> Answer:
        """DELETE on one of them."""
        query.only(call.query)
        self._authorize(call, "delete", key)
        call.service.database.write(lambda tx: offers.delete(tx, self.offers, key))
        return Answer(204)


@dataclass(frozen=True, slots=True)
class ProfileHandlers(_Resource):
    """What operators write for a provider."""

    profiles: offers.Profiles

    def create(self, call: Call) -> Answer:
        """POST on the collection."""
        values = call.create_body(self.schema) | {"id": str(uuid4())}
        self._authorize(call, "post")
        self._check(call, values)
        call.service.database.write(lambda tx: offers.insert_profile(tx, self.profiles, values))
        return self._answer(call, 201, values["id"])

    def update(self, call: Call, key: str) -> Answer:
        """PUT on one of them; the provider sees it whole."""
        values = call.update_body(self.schema)
        self._authorize(call, "put", key)
        with call.service.database.read() as tx:
            stored, _ = views.show(tx, self.view, key)
        if set(values) - {"name"}:
            self._check(call, stored | values)

        def change(tx: Connection) -> None:
            offers.lock_profile(tx, self.profiles, key)
            offers.update_profile(tx, self.profiles, key, values)

        call.service.database.write(change)
        return self._answer(call, 200, key)

    def delete(self, call: Call, key: str) -> Answer:
        """DELETE on one of them."""
        query.only(call.query)
        self._authorize(call, "delete", key)
        call.service.database.write(lambda tx: offers.delete_profile(tx, self.profiles, key))
        return Answer(204)

    def _check(self, call: Call, values: dict[str, Any]) -> None:
        placement.check_profile(
            call.service, self.profiles, values["provider_name"], values[self.profiles.data]
        )


FLAVORS: Final = OfferHandlers(views.FLAVOR, FLAVOR, "flavors", "flavors_links", "flavor", offers.FLAVORS)
FLAVOR_PROFILES: Final = ProfileHandlers(
    views.FLAVOR_PROFILE,
    FLAVOR_PROFILE,
    "flavorprofiles",
    "flavorprofile_links",
    "flavor-profile",
    offers.FLAVOR_PROFILES,
)
ZONES: Final = OfferHandlers(
    views.AVAILABILITY_ZONE,
    AVAILABILITY_ZONE,
    "availability_zones",
    "availability_zones_links",
    "availability-zone",
    offers.ZONES,
)
ZONE_PROFILES: Final = ProfileHandlers(
    views.AVAILABILITY_ZONE_PROFILE,
    AVAILABILITY_ZONE_PROFILE,
    "availability_zone_profiles",
    "availability_zone_profile_links",
    "availability-zone-profile",
    offers.ZONE_PROFILES,
)
