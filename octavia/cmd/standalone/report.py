# SPDX-License-Identifier: Apache-2.0
"""What ``status`` and ``why`` print. Judging is not here: both only read."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

from oslo_config import cfg

from octavia.cmd.standalone import host, rest
from octavia.cmd.standalone.configuration import api_url, configuration
from octavia.cmd.standalone.controller_process import running_pid
from octavia.cmd.standalone.errors import Refusal
from octavia.cmd.standalone.state import State
from octavia.db import explain
from octavia.db.engine import Database, create_engine
from octavia.drivers.certificates import local_store

_EXPIRES_SOON: Final = timedelta(days=30)
_NO_LOGS: Final[Mapping[str, Path]] = MappingProxyType({})


def status(state: State) -> str:
    """What runs of one installation."""
    if not state.exists():
        return f"nothing in {state.path}: 'octavia-standalone up' starts there"
    return "\n".join(_status(state))


def _status(state: State) -> Iterator[str]:
    conf = configuration(state)
    url = api_url(conf)
    pid = running_pid(state)
    yield f"controller     {f'runs (pid {pid})' if pid else 'does not run'}, log {state.log}"
    yield f"API            {url} {'answers' if pid and rest.answers(url) else 'does not answer'}"
    for name, process in host.amphorae(state).items():
        yield f"amphora        {name} {_alive(process)}"
    for name, process in host.web_servers(state).items():
        yield f"web server     {name} {_alive(process)}"
    yield from _expiring(conf, datetime.now(UTC).replace(tzinfo=None))
    if pid and rest.answers(url):
        for lb in rest.get(url, "/v2.0/lbaas/loadbalancers")["loadbalancers"]:
            yield (
                f"load balancer  {lb['name'] or lb['id']} {lb['vip_address']}"
                f" {lb['provisioning_status']} {lb['operating_status']}"
            )


def _expiring(conf: cfg.ConfigOpts, now: datetime) -> Iterator[str]:
    if conf.certificates.cert_manager != "local_cert_manager":
        return
    for secret in local_store.from_config(conf).list():
        at = secret.expires_at
        if at is not None and at - now < _EXPIRES_SOON:
            when = "has expired" if at < now else f"expires in {(at - now).days} days"
            yield f"secret         {secret.ref} {secret.name} {when}"


def _alive(pid: int | None) -> str:
    return f"runs (pid {pid})" if pid else "has ended"


def why(conf: cfg.ConfigOpts, name_or_id: str) -> str:
    """Why a load balancer is as it is, read from the database: this works without the controller too.

    :raises NotFound: there is none of that name.
    :raises Refusal: there is no database yet.
    """
    url = conf.database.connection
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).exists():
        raise Refusal(f"there is no database at {path} yet: run 'octavia-standalone up' first.")
    database = Database(create_engine(url))
    with database.read() as tx:
        found = explain.explain(tx, name_or_id)
    here = host.flow_logs(State(Path(conf.standalone.state_dir)), [one.id for one in found.amphorae])
    return "\n".join(_explanation(found, datetime.now(UTC).replace(tzinfo=None), here))


def _explanation(
    found: explain.Explanation, now: datetime, flow_logs: Mapping[str, Path] = _NO_LOGS
) -> Iterator[str]:
    lb = found.load_balancer
    yield f"load balancer {lb.name or '(no name)'} {lb.id}"
    yield f"  provisioning_status {lb.provisioning_status}, operating_status {lb.operating_status}"
    yield f"  generation {lb.generation}, live {lb.observed_generation}"
    for reason in found.reasons:
        what = "" if reason.object_id == lb.id else f" of {reason.object_id}"
        yield f"  reason{what}: {reason.sentence} ({reason.code})"
        tries = f", met {reason.attempts} times" if reason.attempts > 1 else ""
        following = f", next try {_distance(reason.next_try, now)}" if reason.next_try else ""
        yield f"    since {_moment(reason.since, now)}{tries}{following}"
    yield from _waiting(found, now)
    for amphora in found.amphorae:
        heard = found.heard.get(amphora.id)
        last = f"heard {_distance(heard.at, now)}" if heard else "never heard"
        vrrp = f", VRRP {heard.vrrp_state}" if heard and heard.vrrp_state else ""
        yield (
            f"  amphora {amphora.id} {amphora.role} {amphora.status}, generation {amphora.generation},"
            f" {last}{vrrp}"
        )
        if amphora.id in flow_logs:
            yield f"    flow log {flow_logs[amphora.id]}"
    for event in found.events:
        yield f"  {event.at:%Y-%m-%d %H:%M:%S} {event.text}"


def _waiting(found: explain.Explanation, now: datetime) -> Iterator[str]:
    work = found.work
    if work is None:
        yield "  waits for nothing: everything that was asked for is live"
        return
    owner = f"a worker ({work.lease_owner}) is at it" if work.lease_owner else "no worker is at it"
    yield (
        f"  work since {_moment(work.wanted_since, now)}, {work.attempts} tries so far, {owner},"
        f" due {_distance(work.due_at, now)}"
    )


def _moment(at: datetime, now: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} ({_distance(at, now)})"


def _distance(at: datetime, now: datetime) -> str:
    seconds = (at - now) / timedelta(seconds=1)
    if abs(seconds) < 1:
        return "now"
    return f"in {seconds:.0f} s" if seconds > 0 else f"{-seconds:.0f} s ago"
