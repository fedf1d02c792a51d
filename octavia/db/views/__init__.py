# SPDX-License-Identifier: Apache-2.0
"""What the API shows and lists, read without loading whole trees.

An object is read as a record: a mapping from the API's names of attributes to values. A show or a list takes
a fixed number of queries, however many objects there are: one for the rows, one for their relations. Which
attributes are answered, in which order and form, is not here: see :mod:`octavia.api.schemas`.

Writing is not here either: see :mod:`octavia.db.tree.saving`.
"""

from octavia.db.views.amphorae import AMPHORA, load_balancer_of_amphora
from octavia.db.views.lists import Listing, TagFilter, listing
from octavia.db.views.objects import HEALTH_MONITOR, L7_POLICY, L7_RULE, LISTENER, LOAD_BALANCER, MEMBER, POOL
from octavia.db.views.offers import AVAILABILITY_ZONE, AVAILABILITY_ZONE_PROFILE, FLAVOR, FLAVOR_PROFILE
from octavia.db.views.one import check_exists, exists, ping, project_of, show, show_below
from octavia.db.views.shape import Column, Record, Relation, View, WideRelation
from octavia.db.views.statistics import COUNTERS, amphora_statistics, statistics
from octavia.db.views.status_tree import status_tree

__all__ = [
    "AMPHORA",
    "AVAILABILITY_ZONE",
    "AVAILABILITY_ZONE_PROFILE",
    "COUNTERS",
    "FLAVOR",
    "FLAVOR_PROFILE",
    "HEALTH_MONITOR",
    "L7_POLICY",
    "L7_RULE",
    "LISTENER",
    "LOAD_BALANCER",
    "MEMBER",
    "POOL",
    "Column",
    "Listing",
    "Record",
    "Relation",
    "TagFilter",
    "View",
    "WideRelation",
    "amphora_statistics",
    "check_exists",
    "exists",
    "listing",
    "load_balancer_of_amphora",
    "ping",
    "project_of",
    "show",
    "show_below",
    "statistics",
    "status_tree",
]
