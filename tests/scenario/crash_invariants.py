# SPDX-License-Identifier: Apache-2.0
"""What must be true soon after any crash: promises are kept, nothing is pending, nothing is left over.

Everything is looked at where it is, behind the controller's back: rows in the database's file, processes
in /proc, links in the kernel, servers in each HAProxy's own socket, and traffic through the VIP. Making
trouble is not here: see :mod:`tests.scenario.test_crashes`.
"""

import json
import os
import re
import socket
import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx

from octavia.drivers.local import links
from octavia.drivers.local.process import NamespacedProcess, ProcessState
from tests.scenario.crash_tenant import Account, Form, amphorae_of, is_leaving
from tests.scenario.standalone import HOST_ON, POLL_S, Machine, fetch

WITHIN_S: Final = 60.0
_AMPHORAE: Final = {"SINGLE": 1, "ACTIVE_STANDBY": 2}
_MAINTENANCE: Final = 0x01 | 0x20  # srv_admin_state: forced by the socket, or by the configuration
_WITH_STATUS: Final = ("load_balancer", "listener", "pool", "member", "health_monitor")


class Broken(AssertionError):
    """Some invariant does not hold in time; the text lists all that do not."""


def check(machine: Machine, accounts: Collection[Account], *, but_shown: bool = False) -> float:
    """Wait until everything holds; the seconds that it took. Doubts of the accounts are resolved.

    :param but_shown: do not wait for the end of a replacement that is done and only shown for a while.
    :raises Broken: something does not, and when.
    """
    began, within = time.monotonic(), WITHIN_S
    while True:
        problems = _problems(machine, accounts, but_shown=but_shown)
        took = time.monotonic() - began
        if not problems:
            return took
        if took > within:
            raise Broken(f"still after {took:.0f} s:\n  " + "\n  ".join(problems))
        time.sleep(POLL_S)


def check_promises(machine: Machine, accounts: Collection[Account]) -> None:
    """What was answered is stored, whether it is live yet or not. Doubts of the accounts are resolved.

    :raises Broken: something is forgotten, half there or was never asked for.
    """
    problems = _broken_promises(machine, accounts, live=False)
    if problems:
        raise Broken("\n  ".join(problems))


def is_settled(machine: Machine) -> bool:
    """Is nothing under way, as the database says?"""
    with _database(machine) as database:
        return not _unsettled(database, but_shown=True)


def _problems(machine: Machine, accounts: Collection[Account], *, but_shown: bool) -> list[str]:
    """The first kind of trouble that there is; the dear looks come last."""
    with _database(machine) as database:
        problems = _unsettled(database, but_shown=but_shown) or _inconsistent_rows(database)
        if problems:
            return problems
        try:
            return (
                _broken_promises(machine, accounts)
                or _left_over(machine, database)
                or [one for account in accounts for one in _broken_traffic(machine, account)]
            )
        except (httpx.TransportError, OSError) as why:
            return [f"cannot look: {why!r}"]


@contextmanager
def _database(machine: Machine) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{machine.state}/octavia.db?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def _rows(database: sqlite3.Connection, query: str) -> list[Any]:
    return [dict(row) for row in database.execute(query)]


def _column(database: sqlite3.Connection, query: str) -> list[str]:
    return [row[0] for row in database.execute(query)]


# --- rows -------------------------------------------------------------------------------------


# A replacement that is done is shown for some seconds more, so that pollers see it.
_SHOWN: Final = """
    select lb.id from load_balancer lb
    join status_reason on object_id = lb.id and code = 'REPLACING'
    join work on work.load_balancer_id = lb.id and lease_owner is null
    where generation = observed_generation and not exists (
        select 1 from amphora where load_balancer_id = lb.id
        and status != 'DELETED' and (status != 'ALLOCATED' or replace_requested is not null)
    )
"""


def _unsettled(database: sqlite3.Connection, *, but_shown: bool) -> list[str]:
    """What is still under way."""
    shown = set(_column(database, _SHOWN)) if but_shown else set()
    problems = []
    for table in _WITH_STATUS:
        for row in database.execute(
            f"select id, provisioning_status from {table}"
            " where provisioning_status not in ('ACTIVE', 'DELETED')"
        ):
            if row[0] not in shown:
                problems.append(f"{table} {row[0]} is {row[1]}")
    problems += [
        f"amphora {row[0]} is {row[1]}"
        for row in database.execute(
            "select id, status from amphora where status not in ('ALLOCATED', 'DELETED')"
        )
    ]
    problems += [
        f"there is work: {row}"
        for row in _rows(
            database,
            "select work.*, code, sentence from work"
            " left join status_reason on object_id = work.load_balancer_id",
        )
        if row["load_balancer_id"] not in shown
    ]
    problems += [f"{one} is reserved" for one in _column(database, "select id from reservation")]
    return problems


def _inconsistent_rows(database: sqlite3.Connection) -> list[str]:
    problems = []
    live = "select id from load_balancer where provisioning_status != 'DELETED'"
    for table in ("listener", "pool"):
        for one in _column(database, f"select id from {table} where load_balancer_id not in ({live})"):
            problems.append(f"{table} {one} has no load balancer")
    for table in ("member", "health_monitor"):
        for one in _column(database, f"select id from {table} where pool_id not in (select id from pool)"):
            problems.append(f"{table} {one} has no pool")
    amphorae = "select id from amphora where status != 'DELETED'"
    for table in ("amphora_health", "amphora_member_port"):
        for one in _column(database, f"select amphora_id from {table} where amphora_id not in ({amphorae})"):
            problems.append(f"{table} knows {one}, which is no amphora")
    for row in database.execute(
        f"select id, topology, (select count(*) from amphora where load_balancer_id = lb.id"
        f" and status != 'DELETED') from load_balancer lb where id in ({live})"
    ):
        if row[2] != _AMPHORAE[row[1]]:
            problems.append(f"load balancer {row[0]} ({row[1]}) has {row[2]} amphorae")
    return problems


# --- promises ---------------------------------------------------------------------------------


def _broken_promises(machine: Machine, accounts: Collection[Account], *, live: bool = True) -> list[str]:
    """The API shows one of the possibilities; and if it is to be live, so does every amphora."""
    problems = []
    shown = {one["name"]: one for one in machine.load_balancers() if not is_leaving(one)}
    expected = {account.name for account in accounts}
    problems += [f"load balancer {name} was never asked for" for name in shown.keys() - expected]
    for account in accounts:
        if account.name in shown:
            problems += _compare(machine, account, shown[account.name], live=live)
        elif None in account.forms:
            account.forms = [None]
        else:
            problems.append(f"load balancer {account.name} is gone although nobody deleted it")
    return problems


def _compare(machine: Machine, account: Account, shown: dict[str, Any], *, live: bool) -> list[str]:
    account.id = shown["id"]
    form = _form(machine, shown["id"])
    if form is None:
        return [f"load balancer {account.name} is there without its children"]
    if form not in account.forms:
        return [f"load balancer {account.name} is {form}, promised was one of {account.forms}"]
    if not live:
        account.forms = [form]
        return []
    amphorae = amphorae_of(machine, shown["id"])
    problems = _half_failed_over(account, frozenset(amphorae))
    for amphora_id in amphorae:
        runs = _form_in_haproxy(machine, amphora_id, shown["id"])
        if runs != form:
            problems.append(f"amphora {amphora_id} of {account.name} runs {runs} instead of {form}")
    if not problems:
        account.forms, account.perhaps_replaced = [form], frozenset()
    return problems


def _half_failed_over(account: Account, present: frozenset[str]) -> list[str]:
    doubtful = account.perhaps_replaced & present
    if doubtful and doubtful != present:
        return [f"of {account.name} only some amphorae were replaced: {sorted(doubtful)} are old"]
    return [f"amphora {one} of {account.name} should be replaced" for one in account.replaced & present]


def _form(machine: Machine, load_balancer_id: str) -> Form | None:
    """As the API shows it; None if it is not whole."""
    tree = machine.get(f"/loadbalancers/{load_balancer_id}/status")["statuses"]["loadbalancer"]
    pools = machine.get(f"/pools?loadbalancer_id={load_balancer_id}")["pools"]
    if len(tree["listeners"]) != 1 or len(pools) != 1 or not pools[0]["healthmonitor_id"]:
        return None
    members = machine.get(f"/pools/{pools[0]['id']}/members")["members"]
    return Form({one["protocol_port"]: one["weight"] for one in members if not is_leaving(one)})


def _form_in_haproxy(machine: Machine, amphora_id: str, load_balancer_id: str) -> Form:
    """What HAProxy really does, by its runtime socket; servers in maintenance take no traffic."""
    data = machine.installation.amphorae / amphora_id / "inside" / "lib"
    lines = _ask_socket(data, f"{load_balancer_id}.sock", "show servers state").splitlines()
    names = lines[1].removeprefix("# ").split()
    members = {}
    for line in lines[2:]:
        server = dict(zip(names, line.split(), strict=False))
        if server and not int(server["srv_admin_state"]) & _MAINTENANCE:
            members[int(server["srv_port"])] = int(server["srv_uweight"])
    return Form(members)


def _ask_socket(directory: Path, name: str, command: str) -> str:
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(2)
            connection.connect(f"/proc/self/fd/{descriptor}/{name}")  # the whole path would be too long
            connection.sendall(f"{command}\n".encode())
            said = b""
            while piece := connection.recv(65536):
                said += piece
            return said.decode()
    finally:
        os.close(descriptor)


def _broken_traffic(machine: Machine, account: Account) -> list[str]:
    """The VIP answers, by members that have weight; without any it says so."""
    form = account.form
    if form is None:
        return []
    vip = machine.get(f"/loadbalancers/{account.id}")["loadbalancer"]["vip_address"]
    serving = {f"hello from {port}" for port, weight in form.members.items() if weight}
    try:
        said = fetch(vip)
    except ValueError as error:
        said = str(error)
        if not serving and said.startswith("answered 503"):
            return []
    except OSError as error:
        return [f"{account.name} does not answer at {vip}: {error!r}"]
    return [] if said in serving else [f"{account.name} answered {said!r}, not one of {sorted(serving)}"]


# --- leftovers --------------------------------------------------------------------------------


def _left_over(machine: Machine, database: sqlite3.Connection) -> list[str]:
    """Directories, processes, links and ports, each exactly those that the rows ask for."""
    amphorae = set(_column(database, "select id from amphora where status != 'DELETED'"))
    balancers = set(_column(database, "select id from load_balancer where provisioning_status != 'DELETED'"))
    return [
        *_differences("amphora directory", _directories(machine), amphorae),
        *_differences("amphora process", _running(machine), amphorae),
        *_differences("process tree of amphora", _mounted(machine), amphorae),
        *(f"process left over: {one}" for one in _stray_processes(machine)),
        *_differences("port", _ports(machine), _wanted_ports(database, amphorae, balancers)),
        *_differences("link", set(links.names()), _wanted_links(machine)),
        *(f"half-written file: {one}" for one in _half_written(machine)),
    ]


def _differences(noun: str, found: set[str], wanted: set[str]) -> list[str]:
    return [
        *(f"{noun} {one} is left over" for one in sorted(found - wanted)),
        *(f"{noun} {one} is missing" for one in sorted(wanted - found)),
    ]


def _directories(machine: Machine) -> set[str]:
    amphorae = machine.installation.amphorae
    return set(os.listdir(amphorae)) if amphorae.exists() else set()


def _running(machine: Machine) -> set[str]:
    return {
        one
        for one in _directories(machine)
        if NamespacedProcess(machine.installation.amphorae / one, machine.installation).state()
        is ProcessState.RUNNING
    }


def _mounted(machine: Machine) -> set[str]:
    """Amphorae whose directory is what some process on this machine sees as its own, even if removed."""
    pattern = re.compile(
        re.escape(f"{machine.state.parent.name}/{machine.state.name}/amphorae/") + "([0-9a-f-]{36})"
    )
    found: set[str] = set()
    for process in _processes():
        with suppress(OSError):
            found.update(pattern.findall((process / "mountinfo").read_text()))
    return found


def _stray_processes(machine: Machine) -> list[str]:
    """Launchers and the like: they name the state directory and are not the controller."""
    assert machine.controller
    ours = {os.getpid(), machine.controller.pid}
    found = []
    for process in _processes():
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(machine.state) in words and int(process.name) not in ours:
                found.append(f"{process.name}: {words}")
    return found


def _processes() -> Iterator[Path]:
    return (Path("/proc") / name for name in os.listdir("/proc") if name.isdigit())


def _ports(machine: Machine) -> set[str]:
    return {entry["port"]["name"] for entry in _address_book(machine).values()}


def _address_book(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.installation.address_book.read_text())["entries"]
    return found


def _wanted_ports(database: sqlite3.Connection, amphorae: set[str], balancers: set[str]) -> set[str]:
    return {
        *(f"octavia-lb-{one}" for one in balancers),
        *(f"octavia-mgmt-{one}" for one in amphorae),
        *(f"octavia-lb-vrrp-{one}" for one in amphorae),
        *(
            f"octavia-lb-member-{one}"
            for one in _column(database, "select amphora_id from amphora_member_port")
        ),
    }


def _wanted_links(machine: Machine) -> set[str]:
    """Loopback, three bridges, and a pair for each port that is on an amphora."""
    bridges = {one for one in links.names() if re.fullmatch(r"o[0-9a-f]{5}b[0-9a-f]{8}", one)}
    assert len(bridges) == 1 + len(HOST_ON), bridges
    wired = [
        port_id
        for port_id, entry in _address_book(machine).items()
        if re.match(r"octavia-(mgmt|lb-vrrp|lb-member)-", entry["port"]["name"])
    ]
    return {"lo", *bridges, *map(machine.installation.pair, wired)}


def _half_written(machine: Machine) -> list[str]:
    """What an interrupted replacement of a file leaves beside it, and the next one does not use up."""
    return [
        str(found.relative_to(machine.state))
        for directory in (machine.state, machine.state / "certificates", machine.installation.amphorae)
        if directory.exists()
        for found in directory.iterdir()
        if found.name.startswith(".") and not _is_used_up_next_time(found)
    ]


def _is_used_up_next_time(found: Path) -> bool:
    target = found.name.removeprefix(".").removesuffix(".new")
    return found.name == f".{target}.new" and found.with_name(target).exists()
