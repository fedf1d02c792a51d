# SPDX-License-Identifier: Apache-2.0
"""Which handler is which call: every handler is described once, whatever its URLs are."""

from dataclasses import replace
from typing import Any, Final

from octavia.api.handlers import (
    amphorae,
    discovery,
    health_check,
    health_monitors,
    l7_policies,
    l7_rules,
    listeners,
    load_balancers,
    members,
    offers,
    pools,
    providers,
    quotas,
)
from octavia.api.openapi.operations import (
    ALWAYS,
    ASKED,
    BODY,
    LINKS,
    PROVIDER,
    TREE,
    Listing,
    Operation,
    Table,
    exactly,
    listed,
    resource,
    under,
    whole,
)
from octavia.api.openapi.shapes import Use
from octavia.api.schemas.amphora import AMPHORA
from octavia.api.schemas.common import INTEGER, STRING, UUID, array
from octavia.api.schemas.fields import reference
from octavia.api.schemas.health_monitor import HEALTH_MONITOR
from octavia.api.schemas.l7_policy import L7_POLICY
from octavia.api.schemas.l7_rule import L7_RULE
from octavia.api.schemas.listener import LISTENER
from octavia.api.schemas.load_balancer import EXPANDED_LOAD_BALANCER, LOAD_BALANCER
from octavia.api.schemas.member import MEMBER
from octavia.api.schemas.pool import POOL
from octavia.api.schemas.quota import QUOTA
from octavia.db import views
from octavia.domain.statuses import OperatingStatus, ProvisioningStatus

_STATISTICS: Final = exactly(
    {
        "stats": exactly(
            dict.fromkeys(
                ("bytes_in", "bytes_out", "active_connections", "total_connections", "request_errors"),
                INTEGER,
            )
        )
    }
)
_STATUSES: Final = {
    "operating_status": {"type": "string", "enum": list(OperatingStatus)},
    "provisioning_status": {"type": "string", "enum": list(ProvisioningStatus)},
}
_NAMED: Final = {"id": UUID, "name": STRING, **_STATUSES}
_MEMBER_STATUS: Final = exactly(
    {**_NAMED, "address": STRING, "protocol_port": INTEGER},
)
_MONITOR_STATUS: Final = exactly({**_NAMED, "type": STRING})
_POOL_STATUS: Final = exactly(
    {
        **_NAMED,
        "health_monitor": {"anyOf": [_MONITOR_STATUS, {"type": "null"}]},
        "members": array(_MEMBER_STATUS),
    }
)
_LISTENER_STATUS: Final = exactly({**_NAMED, "pools": array(_POOL_STATUS)})
_STATUS_TREE: Final = exactly(
    {"statuses": exactly({"loadbalancer": exactly({**_NAMED, "listeners": array(_LISTENER_STATUS)})})}
)

_AMPHORA_STATISTICS: Final = exactly(
    {
        "amphora_stats": array(
            exactly(
                {
                    **dict.fromkeys(("id", "listener_id", "loadbalancer_id"), STRING),
                    **dict.fromkeys(
                        (
                            *("active_connections", "bytes_in", "bytes_out"),
                            *("request_errors", "total_connections"),
                        ),
                        INTEGER,
                    ),
                }
            )
        )
    }
)


def _named_list(root: str) -> dict[str, Any]:
    # ?fields= leaves out either.
    return exactly(
        {
            root: array(
                {
                    "type": "object",
                    "properties": {"name": STRING, "description": STRING},
                    "additionalProperties": False,
                }
            )
        }
    )


def _capabilities(kind: str, root: str) -> Operation:
    named = {name: (STRING, f"Filter by {name}.") for name in ("name", "description")}
    return Operation(
        id=f"list{kind}Capabilities",
        tag="providers",
        summary=f"What a provider lets a {kind} profile say",
        answer=_named_list(root),
        faults=ASKED | PROVIDER,
        query=named,
        fields=True,
    )


_BOOLEAN: Final = {"type": "boolean"}
_VERSIONS: Final = exactly(
    {
        "versions": array(
            exactly(
                {
                    "id": STRING,
                    "status": {"type": "string", "enum": ["SUPPORTED", "CURRENT"]},
                    "updated": {"type": "string", "format": "date-time"},
                    "links": array(exactly({"href": STRING, "rel": STRING})),
                }
            )
        )
    }
)


def _action(id_: str, tag: str, summary: str, faults: frozenset[int]) -> Operation:
    return Operation(id=id_, tag=tag, summary=summary, code=202, faults=faults)


_LOAD_BALANCER: Final = resource(
    load_balancers, LOAD_BALANCER, views.LOAD_BALANCER, "loadbalancers", created=EXPANDED_LOAD_BALANCER
)


def _offered(of: offers.OfferHandlers | offers.ProfileHandlers, more: frozenset[int] = frozenset()) -> Table:
    return resource(
        of, of.schema, of.view, of.plural, links=of.links, key=of.view.key, in_tree=False, more=more
    )


OPERATIONS: Final[Table] = {
    discovery.versions: Operation(
        id="discover",
        tag="discovery",
        summary="The versions of the API; other methods answer the same",
        answer=_VERSIONS,
        faults=ALWAYS,
        open=True,
    ),
    discovery.version: Operation(
        id="root",
        tag="discovery",
        summary="The root of a tree",
        answer={"const": "v2"},
        faults=ASKED - {403},
    ),
    health_check.HealthCheck: Operation(
        id="health",
        tag="discovery",
        summary="Is this process fit to be asked?",
        answer=exactly({"detailed": _BOOLEAN, "reasons": array(STRING)}),
        media_types=("text/plain", "application/json", "text/html"),
        alike=frozenset({503}),
        faults=frozenset({400, 404, 413}),
        open=True,
    ),
    **_LOAD_BALANCER,
    load_balancers.delete: replace(
        _LOAD_BALANCER[load_balancers.delete],
        query={"cascade": (_BOOLEAN, "With its listeners, pools and whatever they have.")},
    ),
    load_balancers.statuses: Operation(
        id="showLoadBalancerStatus",
        tag="loadbalancers",
        summary="The statuses of a load balancer and of all that is below it",
        answer=_STATUS_TREE,
        faults=ASKED | {404},
    ),
    load_balancers.statistics: Operation(
        id="showLoadBalancerStatistics",
        tag="loadbalancers",
        summary="Bytes and connections, summed up over the listeners",
        answer=_STATISTICS,
        faults=ASKED | {404},
    ),
    load_balancers.fail_over: _action("failOverLoadBalancer", "loadbalancers", "Replace every amphora", TREE),
    **resource(listeners, LISTENER, views.LISTENER, "listeners"),
    listeners.statistics: Operation(
        id="showListenerStatistics",
        tag="listeners",
        summary="Bytes and connections of a listener",
        answer=_STATISTICS,
        faults=ASKED | {404},
    ),
    **resource(pools, POOL, views.POOL, "pools"),
    **resource(members, MEMBER, views.MEMBER, "members", below=True),
    members.replace_all: replace(
        _action("replaceMembers", "members", "Make a list what a pool has", TREE | BODY),
        takes=exactly({"members": array(reference(MEMBER))}),
        query={"additive_only": (_BOOLEAN, "Members that are not in the list stay.")},
    ),
    **resource(health_monitors, HEALTH_MONITOR, views.HEALTH_MONITOR, "healthmonitors"),
    **resource(l7_policies, L7_POLICY, views.L7_POLICY, "l7policies"),
    **resource(l7_rules, L7_RULE, views.L7_RULE, "rules", below=True),
    quotas.index: Operation(
        id="listQuotas",
        tag="quotas",
        summary="List the projects that have a record",
        answer=exactly({"quotas": array(reference(QUOTA)), "quotas_links": LINKS}, "quotas_links"),
        faults=ASKED,
        listing=Listing(schema=QUOTA, names=tuple(sorted(QUOTA.shown_names - {"tenant_id"})), tagged=False),
    ),
    quotas.show: Operation(
        id="showQuota",
        tag="quotas",
        summary="A project's limits",
        answer=whole("quota", QUOTA),
        faults=ASKED,
    ),
    quotas.defaults: Operation(
        id="showDefaultQuota",
        tag="quotas",
        summary="The deployment's limits",
        answer=whole("quota", QUOTA),
        faults=ASKED,
    ),
    quotas.update: Operation(
        id="updateQuota",
        tag="quotas",
        summary="Set a project's limits",
        code=202,
        answer=whole("quota", QUOTA),
        takes=under("quota", QUOTA),
        use=Use.UPDATE,
        faults=ASKED | BODY,
    ),
    quotas.delete: _action("resetQuota", "quotas", "Back to the deployment's limits", ASKED | {404}),
    **_offered(offers.FLAVORS),
    **_offered(offers.FLAVOR_PROFILES, PROVIDER),
    **_offered(offers.ZONES),
    **_offered(offers.ZONE_PROFILES, PROVIDER),
    providers.index: Operation(
        id="listProviders",
        tag="providers",
        summary="List the enabled providers",
        answer=_named_list("providers"),
        faults=ASKED,
        fields=True,
    ),
    providers.flavor_capabilities: _capabilities("Flavor", "flavor_capabilities"),
    providers.availability_zone_capabilities: _capabilities(
        "AvailabilityZone", "availability_zone_capabilities"
    ),
    **listed(amphorae.index, AMPHORA, views.AMPHORA, "amphorae"),
    amphorae.show: Operation(
        id="showAmphora",
        tag="amphorae",
        summary="Show: Amphora",
        answer=under(AMPHORA.root, AMPHORA),
        faults=ASKED | {404},
        fields=True,
    ),
    amphorae.statistics: Operation(
        id="showAmphoraStatistics",
        tag="amphorae",
        summary="What an amphora counted, a row a listener",
        answer=_AMPHORA_STATISTICS,
        faults=ASKED | {404},
    ),
    amphorae.fail_over: _action("failOverAmphora", "amphorae", "Replace an amphora", TREE),
    amphorae.configure: _action("configureAmphora", "amphorae", "Send its agent its configuration", TREE),
    amphorae.delete: Operation(
        id="deleteAmphora",
        tag="amphorae",
        summary="Take away an amphora that has failed",
        code=204,
        faults=TREE,
    ),
}
"""Handler to description; where a handler is an object, its class."""


def of(handler: Any) -> Operation | None:
    """The description of a handler; None: it is no part of the document."""
    return OPERATIONS.get(handler if hasattr(handler, "__name__") else type(handler))
