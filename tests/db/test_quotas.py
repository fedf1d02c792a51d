# SPDX-License-Identifier: Apache-2.0
"""Quotas hold exactly on each database, however many creations come at once."""

from octavia.db.engine import Database
from tests.api.test_quotas import limited, make_load_balancers_at_once, make_members_at_once


def test_two_hundred_creations_against_a_quota_of_ten_make_ten(database: Database) -> None:
    make_load_balancers_at_once(limited(database), creations=200, limit=10)


def test_members_of_several_load_balancers_are_counted_exactly(database: Database) -> None:
    make_members_at_once(limited(database))
