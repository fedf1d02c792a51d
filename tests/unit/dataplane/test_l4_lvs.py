# SPDX-License-Identifier: Apache-2.0
"""UDP and SCTP listeners as keepalived's LVS files (contract: data-plane.md section 9)."""

from dataclasses import replace

import pytest

from octavia.dataplane.keepalived.model import UnsafeWord
from octavia.dataplane.l4 import lvs
from octavia.dataplane.l4.model import Persistence
from tests.unit.dataplane.l4_samples import EVERYTHING, check, config, member, pool, uuid

FILE = """\
# Configuration for Loadbalancer 00000001-0000-4000-8000-000000000000
# Configuration for Listener 000002bc-0000-4000-8000-000000000000

net_namespace amphora-haproxy

virtual_server_group ipv4-group {
    10.9.9.9 53
}

virtual_server group ipv4-group {
    lb_algo sh
    lb_kind NAT
    protocol UDP
    persistence_timeout 60
    persistence_granularity 255.255.0.0
    delay_loop 5
    delay_before_retry 5
    retry 3

    # Configuration for Pool 000001f4-0000-4000-8000-000000000000
    # Configuration for HealthMonitor 00000384-0000-4000-8000-000000000000
    # Configuration for Member 00000001-0000-4000-8000-000000000000
    real_server 10.0.0.1 53 {
        weight 3
        uthreshold 100
        HTTP_GET {
            url {
                path /a?b=1
                status_code 200
            }
            url {
                path /a?b=1
                status_code 204
            }
            connect_ip 10.0.0.1
            connect_port 53
            connect_timeout 3
        }
    }
    # Configuration for Member 00000002-0000-4000-8000-000000000000
    real_server 10.0.0.2 53 {
        weight 0
        uthreshold 100
        HTTP_GET {
            url {
                path /a?b=1
                status_code 200
            }
            url {
                path /a?b=1
                status_code 204
            }
            connect_ip 10.0.1.2
            connect_port 8053
            connect_timeout 3
        }
    }
    # Member 00000004-0000-4000-8000-000000000000 is disabled
}

virtual_server_group ipv6-group {
    fd00::9 53
}

virtual_server group ipv6-group {
    lb_algo sh
    lb_kind NAT
    protocol UDP
    persistence_timeout 60
    persistence_granularity 128
    delay_loop 5
    delay_before_retry 5
    retry 3

    # Configuration for Pool 000001f4-0000-4000-8000-000000000000
    # Configuration for HealthMonitor 00000384-0000-4000-8000-000000000000
    # Configuration for Member 00000003-0000-4000-8000-000000000000
    real_server fd00::3 53 {
        weight 1
        uthreshold 100
        HTTP_GET {
            url {
                path /a?b=1
                status_code 200
            }
            url {
                path /a?b=1
                status_code 204
            }
            connect_ip fd00::3
            connect_port 53
            connect_timeout 3
        }
    }
}
"""


def test_a_file_is_as_the_contract_has_it() -> None:
    texts = lvs.render(EVERYTHING)
    assert list(texts) == [uuid(700), uuid(701)]
    assert texts[uuid(700)] == FILE
    assert "lb_algo lc" in texts[uuid(701)]


def text(**more: object) -> str:
    return lvs.render(config(pool(member(1), **more)))[uuid(700)]


@pytest.mark.parametrize(
    ("type_", "lines"),
    [
        (
            "UDP-CONNECT",
            [
                "        MISC_CHECK {",
                '            misc_path "/var/lib/octavia/lvs/check/udp_check.sh 10.0.0.1 53"',
                "            misc_timeout 3",
                "        }",
            ],
        ),
        (
            "SCTP",
            [
                "        MISC_CHECK {",
                '            misc_path "amphora-health-checker sctp -t 3 10.0.0.1 53"',
                "            misc_timeout 4",
                "        }",
            ],
        ),
        (
            "TCP",
            [
                "        TCP_CHECK {",
                "            connect_ip 10.0.0.1",
                "            connect_port 53",
                "            connect_timeout 3",
                "        }",
            ],
        ),
    ],
)
def test_each_monitor_has_its_checker(type_: str, lines: list[str]) -> None:
    assert "\n".join(["    real_server 10.0.0.1 53 {", "        weight 1", *lines, "    }"]) in text(
        check=check(type_)
    )


def test_what_is_disabled_is_a_comment() -> None:
    one = config(pool(member(1)))
    off = lvs.render(replace(one, listeners=(replace(one.listeners[0], enabled=False),)))[uuid(700)]
    assert off.splitlines()[1:] == [f"# Listener {uuid(700)} is disabled"]
    assert f"# Pool {uuid(500)} is disabled" in text(enabled=False)
    assert "real_server" not in text(enabled=False)


def test_without_a_pool_there_is_no_virtual_server() -> None:
    bare = config(pool(member(1)), pool_id=None)
    assert "virtual_server" not in lvs.render(bare)[uuid(700)]


def test_a_mask_of_ipv6_is_a_number_of_bits() -> None:
    sticky = pool(member(1, "fd00::1"), persistence=Persistence(granularity="ffff:ffff::"))
    written = lvs.render(config(sticky, vips=("fd00::9",)))[uuid(700)]
    assert "persistence_granularity 32\n" in written


def test_what_means_something_to_keepalived_is_encoded_in_a_path() -> None:
    written = text(check=check("HTTP", url_path="/a{b}\"!#$x'\\?c=%20;d"))
    assert "        path /a%7Bb%7D%22%21%23%24x%27%5C?c=%20;d\n" in written


@pytest.mark.parametrize("base_path", ['/x" {', '/x" "/y', "/x\n", "/x$y"])
def test_the_base_path_is_a_path(base_path: str) -> None:
    with pytest.raises(UnsafeWord):
        lvs.render(config(pool(member(1), check=check("UDP-CONNECT"))), base_path=base_path)


def test_sctp_differs_in_its_protocol_alone() -> None:
    checked = {"check": check("SCTP")}
    datagrams = lvs.render(config(pool(member(1), **checked)))[uuid(700)]
    associations = lvs.render(config(pool(member(1), **checked), protocol="SCTP"))[uuid(700)]
    assert associations == datagrams.replace("protocol UDP", "protocol SCTP")
    assert associations != datagrams
