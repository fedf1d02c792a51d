# SPDX-License-Identifier: Apache-2.0
"""What a request may do to a load balancer tree, a module a resource.

Policies and rules of layer 7 are in :mod:`octavia.domain.l7`.

Each public function takes a tree and the typed fields of a request and returns the tree as it is then, or
raises; it reads no clock and no database. Types and ranges of fields are not here: see
:mod:`octavia.api.schemas`. What one provider cannot do is in :mod:`octavia.providers`.
"""

from octavia.domain.rules.ground import Births, Concurrency, Deployment, Values, invalid, not_allowed
from octavia.domain.rules.health_monitors import (
    check_monitor_allowed,
    create_health_monitor,
    delete_health_monitor,
    monitor_of,
    new_health_monitor,
    update_health_monitor,
    watched,
)
from octavia.domain.rules.listeners import (
    check_listener_allowed,
    check_pair,
    check_target,
    childless,
    create_listener,
    delete_listener,
    listener_of,
    new_listener,
    update_listener,
)
from octavia.domain.rules.load_balancers import (
    check_security_groups,
    delete_load_balancer,
    fail_over,
    fail_over_amphora,
    renew_secret,
    update_load_balancer,
)
from octavia.domain.rules.marks import (
    born,
    immutable,
    leaving,
    lock,
    lock_policy,
    may_leave,
    retries,
    stays,
    touched,
    written,
)
from octavia.domain.rules.members import (
    BatchItem,
    check_members,
    check_ports,
    create_member,
    delete_member,
    growth,
    member_of,
    new_in_batch,
    new_members,
    replace_members,
    update_member,
)
from octavia.domain.rules.pools import create_pool, delete_pool, new_pool, pool_of, update_pool

__all__ = [
    "BatchItem",
    "Births",
    "Concurrency",
    "Deployment",
    "Values",
    "born",
    "check_listener_allowed",
    "check_members",
    "check_monitor_allowed",
    "check_pair",
    "check_ports",
    "check_security_groups",
    "check_target",
    "childless",
    "create_health_monitor",
    "create_listener",
    "create_member",
    "create_pool",
    "delete_health_monitor",
    "delete_listener",
    "delete_load_balancer",
    "delete_member",
    "delete_pool",
    "fail_over",
    "fail_over_amphora",
    "growth",
    "immutable",
    "invalid",
    "leaving",
    "listener_of",
    "lock",
    "lock_policy",
    "may_leave",
    "member_of",
    "monitor_of",
    "new_health_monitor",
    "new_in_batch",
    "new_listener",
    "new_members",
    "new_pool",
    "not_allowed",
    "pool_of",
    "renew_secret",
    "replace_members",
    "retries",
    "stays",
    "touched",
    "update_health_monitor",
    "update_listener",
    "update_load_balancer",
    "update_member",
    "update_pool",
    "watched",
    "written",
]
