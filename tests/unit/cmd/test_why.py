# SPDX-License-Identifier: Apache-2.0
"""``octavia-standalone why`` answers the questions that somebody has at night."""

from datetime import datetime, timedelta
from pathlib import Path

from octavia.cmd.standalone.report import _explanation
from octavia.db.amphorae import Heard
from octavia.db.events import Event
from octavia.db.explain import Explanation, Queued, Standing
from octavia.domain.statuses import AmphoraStatus, ProvisioningStatus
from octavia.domain.tree import Amphora, LoadBalancer, Role, Vip

NOW = datetime(2026, 1, 2, 3, 4, 5)
LB = LoadBalancer(
    id="00000000-0000-4000-8000-000000000001",
    name="shop",
    vip=Vip(ip_address="198.19.16.9"),
    provisioning_status=ProvisioningStatus.ERROR,
    generation=7,
    observed_generation=6,
)
AMPHORA = Amphora(
    id="00000000-0000-4000-8000-00000000000a",
    load_balancer_id=LB.id,
    status=AmphoraStatus.ALLOCATED,
    role=Role.MASTER,
    generation=6,
)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def said(**what: object) -> str:
    nothing: dict[str, object] = {"work": None, "reasons": (), "amphorae": (), "heard": {}, "events": ()}
    return "\n".join(_explanation(Explanation(load_balancer=LB, **{**nothing, **what}), NOW))  # type: ignore[arg-type]


def test_a_reason_says_since_when_how_often_and_when_next() -> None:
    standing = Standing(LB.id, "HAPROXY", "HAProxy refused line 12.", ago(90), 4, ago(-15))
    assert "reason: HAProxy refused line 12. (HAPROXY)" in said(reasons=(standing,))
    assert "since 2026-01-02 03:02:35 (90 s ago), met 4 times, next try in 15 s" in said(reasons=(standing,))


def test_a_reason_of_something_below_names_it() -> None:
    standing = Standing("pool-id", "HAPROXY", "Refused.", ago(1), 1, None)
    assert "reason of pool-id: Refused." in said(reasons=(standing,))


def test_what_is_queued_says_who_is_at_it() -> None:
    assert "3 tries so far, no worker is at it, due in 5 s" in said(work=Queued(ago(-5), 3, ago(60), None))
    assert "a worker (host-1) is at it, due now" in said(work=Queued(NOW, 0, ago(1), "host-1"))


def test_nothing_queued_is_said_too() -> None:
    assert "waits for nothing" in said()


def test_amphorae_say_when_they_were_last_heard_and_who_has_the_vip() -> None:
    heard = {AMPHORA.id: Heard(at=ago(2), vrrp_state="MASTER")}
    assert "MASTER ALLOCATED, generation 6, heard 2 s ago, VRRP MASTER" in said(
        amphorae=(AMPHORA,), heard=heard
    )
    assert "never heard" in said(amphorae=(AMPHORA,))


def test_a_flow_log_on_this_machine_is_named() -> None:
    found = Explanation(LB, work=None, reasons=(), amphorae=(AMPHORA,), heard={}, events=())
    lines = list(_explanation(found, NOW, {AMPHORA.id: Path("/state/flow.log")}))
    assert lines[-1] == "    flow log /state/flow.log"


def test_the_last_events_are_listed() -> None:
    assert "2026-01-02 03:04:00 amphora replaced" in said(events=(Event(ago(5), "amphora replaced"),))
