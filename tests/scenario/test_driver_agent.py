# SPDX-License-Identifier: Apache-2.0
"""octavia-driver-agent as a process, octavia-lib's own library as its client, a third party's provider."""

import os
import signal
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from octavia_lib.api.drivers import exceptions
from octavia_lib.api.drivers.driver_lib import DriverLibrary

from octavia.driver_agent.sockets import receive, send
from tests.scenario.daemons import LBAAS, Deployment, Tenant, deployment, is_running, terminate, wait_for
from tests.third_party import FOLDER

pytestmark = pytest.mark.scenario

KINDS = ("status", "stats", "get")


class Agented(Deployment):
    """With a provider that somebody else has installed."""

    def socket(self, kind: str) -> Path:
        return self.folder / "run" / f"{kind}.sock"

    def driver_library(self) -> DriverLibrary:
        return DriverLibrary(*(str(self.socket(kind)) for kind in KINDS))

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def start_agent(self, *names: str, shutdown_s: int = 30) -> Any:
        """The driver agent; its sockets are there when this returns."""
        options = {
            "enabled_provider_agents": ",".join(names),
            "provider_agent_shutdown_timeout": shutdown_s,
        }
        more = self.write_conf("agents", {"driver_agent": options})
        process = self.start("octavia-driver-agent", "--config-file", str(more))

        def there() -> bool:
            assert process.poll() is None, self.log("octavia-driver-agent")
            return all(self.answers(kind) for kind in KINDS)

        wait_for(there, "the driver agent does not listen")
        return process

    def answers(self, kind: str) -> bool:
        with socket.socket(socket.AF_UNIX) as one:
            try:
                one.connect(str(self.socket(kind)))
            except OSError:
                return False
        return True


def options(folder: Path) -> dict[str, Mapping[str, object]]:
    paths: dict[str, object] = {f"{kind}_socket_path": folder / "run" / f"{kind}.sock" for kind in KINDS}
    providers = "amphora: ours, agented: theirs"
    return {"driver_agent": paths, "api_settings": {"enabled_provider_drivers": providers}}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agented]:
    monkeypatch.setenv("PYTHONPATH", str(FOLDER))
    monkeypatch.setenv("OCTAVIA_TEST_SPOOL", str(tmp_path / "spool"))
    (tmp_path / "spool").mkdir()
    made = Agented(tmp_path, f"sqlite:///{tmp_path}/octavia.db", **options(tmp_path))
    try:
        made.migrate()
        yield made
    finally:
        made.close()


def test_a_third_partys_load_balancer_becomes_active_through_its_own_agent(installed: Agented) -> None:
    agent = installed.start_agent("agented")
    installed.start_api()
    tenant = Tenant(installed.url)
    lb = tenant.load_balancer(provider="agented")
    assert lb["provisioning_status"] == "PENDING_CREATE"
    shown = tenant.await_active(lb["id"])
    assert (shown["operating_status"], shown["provider"]) == ("ONLINE", "agented")
    listener = tenant.post(
        "/listeners", "listener", loadbalancer_id=lb["id"], protocol="HTTP", protocol_port=80
    )
    tenant.await_active(lb["id"])
    pool = tenant.post(
        "/pools", "pool", loadbalancer_id=lb["id"], protocol="HTTP", lb_algorithm="ROUND_ROBIN"
    )
    tenant.await_active(lb["id"])
    path = f"/pools/{pool['id']}/members"
    member = tenant.post(path, "member", address="192.0.2.1", protocol_port=80)
    tenant.await_active(lb["id"])
    assert tenant.get(f"{path}/{member['id']}", "member")["operating_status"] == "ONLINE"
    statistics = tenant.get(f"/listeners/{listener['id']}/stats", "stats")
    assert (statistics["active_connections"], statistics["bytes_in"]) == (3, 10)

    # What the provider cannot do is refused, and leaves everything as it was.
    fault = tenant.post(
        "/healthmonitors",
        "healthmonitor",
        501,
        pool_id=pool["id"],
        type="HTTP",
        delay=5,
        timeout=3,
        max_retries=2,
    )
    assert fault.startswith("Provider 'agented' does not support a requested action: ")
    tenant.await_active(lb["id"])

    answer = httpx.delete(f"{installed.url}{LBAAS}/listeners/{listener['id']}")
    assert answer.status_code == 204
    tenant.await_active(lb["id"])
    assert httpx.get(f"{installed.url}{LBAAS}/listeners/{listener['id']}").status_code == 404
    url = f"{installed.url}{LBAAS}/loadbalancers/{lb['id']}"
    assert httpx.delete(url, params={"cascade": "true"}).status_code == 204
    wait_for(lambda: httpx.get(url).status_code == 404, "the load balancer is still there")
    tenant.close()
    assert terminate(agent) == [0]
    assert (installed.spool / "agent-ended").exists()
    assert [kind for kind in KINDS if installed.socket(kind).exists()] == []


def test_the_librarys_calls_are_answered(installed: Agented) -> None:
    agent = installed.start_agent()
    installed.start_api()
    tenant, library = Tenant(installed.url), installed.driver_library()
    assert library.get_loadbalancer(str(uuid4())) is None
    assert library.get_l7rule("x" * 5000) is None

    pool = {
        "name": "p",
        "protocol": "HTTP",
        "lb_algorithm": "ROUND_ROBIN",
        "members": [{"address": "192.0.2.1", "protocol_port": 80}],
        "healthmonitor": {"type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 2},
    }
    policy = {"action": "REJECT", "rules": [{"type": "PATH", "compare_type": "EQUAL_TO", "value": "/"}]}
    listener = {"protocol": "HTTP", "protocol_port": 80, "default_pool": pool, "l7policies": [policy]}
    made = tenant.load_balancer(provider="agented", listeners=[listener])
    lb = library.get_loadbalancer(made["id"])
    assert (lb.vip_address, lb.flavor, lb.additional_vips) == (made["vip_address"], {}, [])
    listener_id = lb.listeners[0]["listener_id"]
    found = library.get_listener(listener_id)
    assert (found.protocol_port, found.default_tls_container_data) == (80, None)
    pool_id = found.default_pool["pool_id"]
    assert library.get_pool(pool_id).healthmonitor["max_retries"] == 2
    assert library.get_member(library.get_pool(pool_id).members[0]["member_id"]).address == "192.0.2.1"
    monitor_id = library.get_pool(pool_id).healthmonitor["healthmonitor_id"]
    assert library.get_healthmonitor(monitor_id).pool_id == pool_id
    policy_id = found.l7policies[0]["l7policy_id"]
    assert library.get_l7policy(policy_id).listener_id == listener_id
    assert library.get_l7rule(found.l7policies[0]["rules"][0]["l7rule_id"]).l7policy_id == policy_id

    with pytest.raises(exceptions.UpdateStatusError) as refused:
        library.update_loadbalancer_status({"listeners": [{"id": listener_id, "operating_status": "FINE"}]})
    assert (refused.value.status_object, refused.value.status_object_id) == ("listeners", listener_id)
    unknown = str(uuid4())
    with pytest.raises(exceptions.UpdateStatusError):
        library.update_loadbalancer_status({"listeners": [{"id": unknown, "operating_status": "ONLINE"}]})
    library.update_loadbalancer_status({"listeners": [{"id": unknown, "provisioning_status": "DELETED"}]})
    ours = tenant.load_balancer()
    with pytest.raises(exceptions.UpdateStatusError, match="not for others"):
        library.update_loadbalancer_status(
            {"loadbalancers": [{"id": ours["id"], "provisioning_status": "ERROR"}]}
        )
    with pytest.raises(exceptions.UpdateStatisticsError, match="active_connections is no count"):
        library.update_listener_statistics({"listeners": [{"id": listener_id, "bytes_in": 1}]})
    tenant.close()
    assert terminate(agent) == [0]


def test_only_our_own_user_may_connect_and_nonsense_harms_nobody(installed: Agented) -> None:
    agent = installed.start_agent()
    for kind in KINDS:
        status = installed.socket(kind).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, os.getuid())
    for nonsense in (b"", b"x", b"\n", b"9" * 30 + b"\n", b"-1\n", b"5\nhello", b"99999999999\n", b"4\nab"):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(installed.socket("get")))
            one.sendall(nonsense)
            one.shutdown(socket.SHUT_WR)
            one.settimeout(30)
            with suppress(ConnectionResetError):  # it did not read all of it
                assert one.recv(1) == b""
    requests: list[Any] = [None, [], "x", {"object": ["members"], "id": {}}, {"object": "secrets", "id": "1"}]
    for request in requests:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(30)
            one.connect(str(installed.socket("get")))
            send(one, request)
            assert receive(one) == {}
    assert terminate(agent) == [0]


def test_a_second_driver_agent_says_why_it_does_not_start(installed: Agented) -> None:
    installed.start_agent()
    second = installed.start("octavia-driver-agent", log="second")
    assert second.wait(60) == 1
    assert "is served by another driver agent" in installed.log("second")
    assert installed.answers("status")


def test_an_unknown_agent_is_named(installed: Agented) -> None:
    more = installed.write_conf("unknown", {"driver_agent": {"enabled_provider_agents": "nobody"}})
    process = installed.start("octavia-driver-agent", "--config-file", str(more))
    assert process.wait(60) == 1
    said = installed.log("octavia-driver-agent")
    assert "[driver_agent] enabled_provider_agents: nobody: there is no such agent here." in said
    assert "agented" in said


def test_what_can_never_start_says_why_and_ends(installed: Agented) -> None:
    more = installed.write_conf("wrong", {"controller_worker": {"network_driver": "carrier_pigeons"}})
    process = installed.start("octavia-driver-agent", "--config-file", str(more))
    assert process.wait(60) == 1
    said = installed.log("octavia-driver-agent")
    assert (
        "octavia-driver-agent: [controller_worker] network_driver = carrier_pigeons: there is no such" in said
    )
    assert not installed.socket("get").exists()


def test_what_crashes_is_started_again(installed: Agented) -> None:
    agent = installed.start_agent("crashing", "noop_agent")
    lives = installed.spool / "lives"
    wait_for(lambda: lives.exists() and len(set(lives.read_text().split())) >= 2, "it is not started again")
    # The process of the sockets too: nobody who connects is turned away meanwhile.
    for pid in installed.children(agent):
        os.kill(pid, signal.SIGKILL)
    assert installed.driver_library().get_pool(str(uuid4())) is None
    assert terminate(agent) == [0]


def test_an_agent_that_does_not_end_is_killed(installed: Agented) -> None:
    agent = installed.start_agent("stubborn", shutdown_s=1)
    trace = installed.spool / "stubborn"
    wait_for(lambda: trace.exists() and trace.read_text() != "", "the agent does not run")
    assert terminate(agent) == [0]
    assert not is_running(int(trace.read_text()))


def test_no_agent_outlives_a_driver_agent_that_is_killed(installed: Agented) -> None:
    agent = installed.start_agent("agented", "noop_agent")
    wait_for(lambda: len(installed.children(agent)) == 3, "sockets and two agents do not run")
    children = installed.children(agent)
    agent.kill()
    agent.wait()
    wait_for(lambda: not any(map(is_running, children)), "a process has outlived its driver agent")
    # The last thread of a process that has ended already may still be on its way out.
    wait_for(lambda: not any(map(installed.answers, KINDS)), "somebody still listens")
    again = installed.start_agent()  # stale sockets are replaced
    again.send_signal(signal.SIGHUP)
    assert installed.driver_library().get_pool(str(uuid4())) is None
    assert terminate(again) == [0]


def test_noop_driver_is_done_at_once_under_a_wsgi_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FOLDER))
    providers = {"enabled_provider_drivers": "amphora: a, noop_driver: n, noop_driver-alt: n, broken: b"}
    url = f"sqlite:///{tmp_path}/octavia.db"
    with deployment(tmp_path, url, api_settings=providers) as made:
        made.start_gunicorn("--preload")
        tenant = Tenant(made.url)
        offered = {one["name"] for one in tenant.get("/providers", "providers")}
        assert offered == {"amphora", "noop_driver", "noop_driver-alt"}
        for name in ("noop_driver", "noop_driver-alt"):
            lb = tenant.load_balancer(provider=name)
            shown = tenant.get(f"/loadbalancers/{lb['id']}", "loadbalancer")
            assert (shown["provisioning_status"], shown["operating_status"]) == ("ACTIVE", "ONLINE")
        tenant.close()
        assert "the back end is not there" in made.log("gunicorn")
