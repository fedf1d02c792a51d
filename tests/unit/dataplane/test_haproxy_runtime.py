# SPDX-License-Identifier: Apache-2.0
"""What HAProxy's answers mean. The answers are those of a real HAProxy 2.6."""

import pytest

from octavia.dataplane.haproxy import runtime
from octavia.dataplane.haproxy.parse import parse
from octavia.dataplane.haproxy.runtime import Command, RowType, Verdict
from octavia.dataplane.haproxy.server import ServerKey

KEY = ServerKey("p:l", "m")


@pytest.mark.parametrize(
    ("command", "answer", "verdict"),
    [
        (runtime.add_server(KEY, "1.2.3.4:5", ["check"]), "New server registered.\n\n", Verdict.DONE),
        (
            runtime.add_server(KEY, "1.2.3.4:5", ["check"]),
            "Already exists a server with the same name in backend.\n",
            Verdict.FAILED,
        ),
        (runtime.add_server(KEY, "1.2.3.4:5", []), "No such backend.\n", Verdict.FAILED),
        (runtime.set_state(KEY, ready=True), "\n", Verdict.DONE),
        (runtime.set_state(KEY, ready=True), "No such server.\n", Verdict.FAILED),
        (runtime.set_weight(KEY, 5), "\n", Verdict.DONE),
        (
            runtime.set_weight(KEY, 5),
            "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n",
            Verdict.FAILED,
        ),
        (
            runtime.set_address(KEY, "1.2.3.4", 6),
            "no need to change the addr, port changed from '5' to '6' by 'stats socket command'\n",
            Verdict.DONE,
        ),
        (
            runtime.set_address(KEY, "1.2.3.5", 6),
            "IP changed from '1.2.3.4' to '1.2.3.5', no need to change the port by 'stats socket command'\n",
            Verdict.DONE,
        ),
        (runtime.set_address(KEY, "1.2.3.5", 6), "Invalid addr format\n", Verdict.FAILED),
        (runtime.set_check(KEY, None, 5), "health checks are not enabled on this server\n", Verdict.FAILED),
        (runtime.delete_server(KEY), "Server deleted.\n", Verdict.DONE),
        (runtime.delete_server(KEY), "No such server.\n", Verdict.DONE),
        (
            runtime.delete_server(KEY),
            "Server still has connections attached to it, cannot remove it.\n",
            Verdict.BUSY,
        ),
        (runtime.delete_server(KEY), "Only servers in maintenance mode can be deleted.\n", Verdict.FAILED),
        (runtime.shut_sessions(KEY), "\n", Verdict.DONE),
        (runtime.shut_sessions(KEY), "No such server.\n", Verdict.DONE),
        (runtime.enable_health(KEY), "Permission denied\n", Verdict.FAILED),
        (runtime.expect_pattern(5, "/a b "), "0x557e12cc1100 /a b \n\n", Verdict.DONE),
        (runtime.expect_pattern(5, "  "), "0x557e12cc1100   \n\n", Verdict.DONE),
        (runtime.expect_pattern(5, "/a"), "0x557e12cc1100 /a\n0x557e12cc1101 /b\n\n", Verdict.FAILED),
        (runtime.expect_pattern(5, "."), "0x557e12cc1100 x\n\n", Verdict.FAILED),
        (runtime.expect_pattern(5, "/a"), "\n\n", Verdict.FAILED),
        (
            runtime.expect_pattern(5, "/a"),
            "Unknown ACL identifier. Please use #<id> or <file>.\n\n",
            Verdict.FAILED,
        ),
        (runtime.add_pattern(5, "/a"), "\n", Verdict.DONE),
        (
            runtime.add_pattern(5, "("),
            "regex '(' is invalid (error=missing closing parenthesis, erroffset=1).\n",
            Verdict.FAILED,
        ),
        (runtime.delete_pattern(5, "/a"), "\n", Verdict.DONE),
        (runtime.delete_pattern(5, "/a"), "Key not found.\n\n", Verdict.FAILED),
    ],
)
def test_answers(command: Command, answer: str, verdict: Verdict) -> None:
    assert command.verdict(answer) == verdict


STAT = """\
# pxname,svname,scur,stot,bin,bout,ereq,status,weight,type,cookie,
l1,FRONTEND,3,10,100,2000,1,OPEN,,0,,
p1:l1,m1,1,9,90,1900,,UP 1/3,7,2,abcd,
p1:l1,BACKEND,1,9,90,1900,,UP,7,1,,

"""


def test_the_table_of_statistics() -> None:
    rows = runtime.parse_stat(STAT)
    assert [(one.type, one.proxy, one.server, one.status) for one in rows] == [
        (RowType.LISTENER, "l1", "FRONTEND", "OPEN"),
        (RowType.MEMBER, "p1:l1", "m1", "UP 1/3"),
        (RowType.POOL, "p1:l1", "BACKEND", "UP"),
    ]
    front, server, _ = rows
    assert (front.current_sessions, front.total_sessions, front.bytes_in) == (3, 10, 100)
    assert (front.bytes_out, front.request_errors) == (2000, 1)
    assert (server.weight, server.cookie, server.request_errors) == (7, "abcd", 0)


@pytest.mark.parametrize("text", ["", "Unknown command.\n", "# pxname,svname\na,b\n"])
def test_what_is_no_table_of_statistics_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HAProxy's"):
        runtime.parse_stat(text)


def test_info() -> None:
    info = runtime.parse_info("Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nUptime: 0d 0h00m12s\nnode: a: b\n\n")
    assert info["Version"] == "2.6.12-1+deb12u4"
    assert info["node"] == "a: b"


HEADER = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state "
    "srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl "
    "srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
)
ROW = "3 b 7 {} 1.2.3.4 {} {} {} 1 9 8 2 0 6 0 0 1 - 5 - 0 99 9.9.9.9 9.9.9.9 99"
WANTED = """
backend b
    server up 1.2.3.4:5 weight 3 check
    server down 1.2.3.4:5 check
    server enabled 1.2.3.4:5 check
    server disabled 1.2.3.4:5 check disabled
    server moved 1.2.3.4:6 check
    server new 1.2.3.4:5 check
"""


def test_only_health_survives_a_reload() -> None:
    told = [("up", 2, 0, 77), ("down", 0, 0, 1), ("enabled", 0, 1, 1), ("disabled", 2, 0, 1)]
    told += [("moved", 0, 0, 1), ("gone", 0, 1, 1)]
    state = "\n".join(["1", HEADER, *(ROW.format(*one) for one in told)]) + "\n\n"
    kept = runtime.parse_servers_state(runtime.state_for_reload(state, parse(WANTED)))
    columns = ("srv_name", "srv_op_state", "srv_admin_state", "srv_uweight", "srv_iweight", "srv_check_addr")
    assert [tuple(row[column] for column in columns) for row in kept.rows] == [
        ("up", "2", "0", "3", "3", "-"),
        ("down", "0", "0", "1", "1", "-"),
    ]


@pytest.mark.parametrize("text", ["", "2\n# a\n", "Permission denied\n", "1\n# be_id be_name\n1 2 3\n"])
def test_what_is_no_state_of_servers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no state|longer"):
        runtime.parse_servers_state(text)
