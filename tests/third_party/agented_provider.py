# SPDX-License-Identifier: Apache-2.0
"""A third party's provider with an agent of its own, installed for the tests.

The driver, in the API, leaves a note of what it was told; the agent, below the driver agent, finds it and
reports through octavia-lib's library, as real ones do.
"""

import json
import os
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from octavia_lib.api.drivers import driver_lib
from octavia_lib.api.drivers.provider_base import ProviderDriver
from oslo_config import cfg

SPOOL = Path(os.environ.get("OCTAVIA_TEST_SPOOL", "."))


def _note(load_balancer_id: str, **more: Any) -> None:
    half = SPOOL / f"{uuid4()}.half"
    half.write_text(json.dumps({"lb": load_balancer_id, **more}))
    half.rename(half.with_suffix(".note"))


class Agented(ProviderDriver):  # type: ignore[misc]
    """Knows no health monitors and no layer 7."""

    def loadbalancer_create(self, loadbalancer: Any) -> None:
        _note(loadbalancer.loadbalancer_id)

    def loadbalancer_update(self, old_loadbalancer: Any, new_loadbalancer: Any) -> None:
        _note(new_loadbalancer.loadbalancer_id)

    def loadbalancer_delete(self, loadbalancer: Any, cascade: bool = False) -> None:
        _note(loadbalancer.loadbalancer_id, gone={"loadbalancers": [loadbalancer.loadbalancer_id]})

    def listener_create(self, listener: Any) -> None:
        _note(listener.loadbalancer_id)

    def listener_delete(self, listener: Any) -> None:
        _note(listener.loadbalancer_id, gone={"listeners": [listener.listener_id]})

    def pool_create(self, pool: Any) -> None:
        _note(pool.loadbalancer_id)

    def member_create(self, member: Any) -> None:
        _note(library().get_pool(member.pool_id).loadbalancer_id)


def library() -> driver_lib.DriverLibrary:
    """At the sockets that the process's global configuration names."""
    options = cfg.CONF.driver_agent
    return driver_lib.DriverLibrary(
        options.status_socket_path, options.stats_socket_path, options.get_socket_path
    )


def agent(exit_event: Any) -> None:
    """Whatever it finds a note of is done at once."""
    reports = library()
    while not exit_event.wait(0.05):
        for note in sorted(SPOOL.glob("*.note")):
            _report(reports, json.loads(note.read_text()))
            note.unlink()
    (SPOOL / "agent-ended").touch()


def _report(reports: driver_lib.DriverLibrary, note: dict[str, Any]) -> None:
    lb = reports.get_loadbalancer(note["lb"])
    gone = note.get("gone", {})
    update: dict[str, list[dict[str, str]]] = {
        plural: [{"id": one, "provisioning_status": "DELETED"} for one in ids] for plural, ids in gone.items()
    }

    def works(plural: str, object_id: str) -> None:
        if object_id not in gone.get(plural, ()):
            status = {"id": object_id, "provisioning_status": "ACTIVE", "operating_status": "ONLINE"}
            update.setdefault(plural, []).append(status)

    for listener in lb.listeners:
        works("listeners", listener["listener_id"])
    for pool in lb.pools:
        works("pools", pool["pool_id"])
        for member in pool["members"]:
            works("members", member["member_id"])
    works("loadbalancers", lb.loadbalancer_id)
    reports.update_loadbalancer_status(update)
    counters = dict.fromkeys(("bytes_in", "bytes_out", "request_errors", "total_connections"), 10)
    listeners = [
        {"id": one["listener_id"], "active_connections": 3, **counters}
        for one in lb.listeners
        if one["listener_id"] not in gone.get("listeners", ())
    ]
    reports.update_listener_statistics({"listeners": listeners})


def crashing(_exit_event: Any) -> None:
    """Leaves a trace of each of its lives."""
    with (SPOOL / "lives").open("a") as lives:
        lives.write(f"{os.getpid()}\n")
    raise RuntimeError("this agent is broken")


def stubborn(_exit_event: Any) -> None:
    """Does not listen to anybody."""
    (SPOOL / "stubborn").write_text(str(os.getpid()))
    while True:
        time.sleep(60)
