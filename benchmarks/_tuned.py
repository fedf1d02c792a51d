# SPDX-License-Identifier: Apache-2.0
"""What somebody who knows HAProxy and nftables writes by hand for one purpose: nothing that is not needed.

The function is that of the load balancer beside it: the same members with the same weights, the same
certificate, ciphers, versions of TLS and application protocols.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks._placed import FILES

COMMON: Final = """\
global
    maxconn 4000
defaults
    mode {mode}
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"""


def backends(ports: Sequence[int]) -> str:
    """Web servers that answer 200 from memory."""
    answer = 'http-request return status 200 content-type text/plain string "hello"'
    fronts = [f"frontend web-{port}\n    bind 0.0.0.0:{port}\n    {answer}\n" for port in ports]
    return COMMON.format(mode="http") + "".join(fronts)


def silence(ports: Sequence[int]) -> str:
    """For ``nft -f``: datagrams to these ports are received, and that is all."""
    return f"""\
table ip silent {{
  chain arriving {{
    type filter hook prerouting priority raw;
    udp dport {{ {", ".join(map(str, ports))} }} drop
  }}
}}
"""


def http(backend: str, ports: Sequence[int]) -> str:
    return _balancer("http", "bind 0.0.0.0:80", ("http-reuse safe",), backend, ports)


def tcp(backend: str, ports: Sequence[int]) -> str:
    """Long streams are spliced: a copy of each byte would cost two and a half times as much CPU."""
    spliced = ("option splice-request", "option splice-response")
    return _balancer("tcp", "bind 0.0.0.0:9000", spliced, backend, ports)


def tls(listener: Mapping[str, Any], backend: str, ports: Sequence[int]) -> str:
    """:param listener: as the API shows the one beside it."""
    every = listener["tls_ciphers"].split(":")
    suites = ":".join(one for one in every if one.startswith("TLS_"))
    older = ":".join(one for one in every if not one.startswith("TLS_"))
    versions = sorted(listener["tls_versions"])
    words = ["bind", "0.0.0.0:443", "ssl", "crt", f"{FILES}/site.pem"]
    words += ["ciphers", older, "ciphersuites", suites]
    words += ["ssl-min-ver", versions[0], "ssl-max-ver", versions[-1]]
    words += ["alpn", ",".join(listener["alpn_protocols"])]
    return _balancer("http", " ".join(words), ("http-reuse safe",), backend, ports)


def _balancer(mode: str, bind: str, options: Sequence[str], backend: str, ports: Sequence[int]) -> str:
    lines = [f"frontend front\n    {bind}\n    default_backend back\nbackend back\n    balance roundrobin"]
    lines += [f"    {option}" for option in options]
    lines += [f"    server web-{port} {backend}:{port}" for port in ports]
    return COMMON.format(mode=mode) + "\n".join([*lines, ""])


def udp(backend: str, ports: Mapping[int, Sequence[int]]) -> str:
    """For ``nft -f``: destination NAT in turns, the way back through here, and both ways counted.

    :param ports: of each listener, with those of its members.
    """
    to_members, there, back = [], [], []
    for port, members in ports.items():
        turns = ", ".join(f"{number} : {backend} . {one}" for number, one in enumerate(members))
        to_members.append(
            f"iifname eth0 udp dport {port} dnat to numgen inc mod {len(members)} map {{ {turns} }}"
        )
        there += [f'{one} : "there-{port}"' for one in members]
        back += [f'{one} : "back-{port}"' for one in members]
    counters = [f"counter {way}-{port} {{ }}" for port in ports for way in ("there", "back")]
    return f"""\
table ip balancer {{
  {"; ".join(counters)}
  chain arriving {{
    type nat hook prerouting priority dstnat;
    {"; ".join(to_members)}
  }}
  chain counted {{
    type filter hook forward priority filter;
    ct direction original counter name udp dport map {{ {", ".join(there)} }} accept
    ct direction reply counter name udp sport map {{ {", ".join(back)} }}
  }}
  chain leaving {{
    type nat hook postrouting priority srcnat;
    ip protocol udp masquerade
  }}
}}
"""
