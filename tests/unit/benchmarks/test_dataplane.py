# SPDX-License-Identifier: Apache-2.0
"""What the data plane's benchmark understands of what its programs say, and what it makes of that."""

import pytest

from benchmarks import _datagrams, _explain, _load, _tuned
from benchmarks._contenders import Comparison, Contender, Rounds, compare
from benchmarks._load import Load

WRK = """\
Running 2s test @ https://127.0.0.1:8443/
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.75ms    4.29ms  63.09ms   95.83%
  Latency Distribution
     50%  577.00us
     75%    1.78ms
     99%   13.64ms
  3764 requests in 2.11s, 323.47KB read
Requests/sec:   1781.49
"""
AB = """\
Time taken for tests:   2.000 seconds
Complete requests:      2342
Failed requests:        0
"""
H2LOAD = """\
Application protocol: h2
finished in 998.50ms, 3.00 req/s, 5.85MB/s
requests: 3 total, 3 started, 3 done, 3 succeeded, 0 failed, 0 errored, 0 timeout
"""
SOCKPERF = """\
sockperf: [Total Run] RunTime=2.000 sec; Warm up time=400 msec; SentMessages=115514; ReceivedMessages=115513
sockperf: [Valid Duration] RunTime=1.550 sec; SentMessages=79904; ReceivedMessages=79903
sockperf: ---> percentile 99.999 = 1976.682
sockperf: ---> percentile 99.000 =   28.747
sockperf: ---> percentile 50.000 =    5.247
"""
OURS = """\
global
    user nobody
    stats socket /var/lib/octavia/11111111-2222-3333-4444-555555555555.sock mode 0600 level admin
defaults
    option redispatch
frontend f
    bind 198.19.16.3:443 ssl crt-list /var/lib/octavia/certs/11111111-2222-3333-4444-555555555555/f alpn h2
    mode http
backend b
    balance roundrobin
    server one 198.19.16.2:8081 weight 1
"""


def test_wrk_is_understood() -> None:
    assert _load.parse_wrk(WRK) == Load(3764, 2.11, 577.0, 13640.0)


def test_ab_is_understood() -> None:
    percentiles = "Percentage served,Time in ms\n0,1.5\n50,6.143\n99,20.5\n"
    assert _load.parse_ab(AB, percentiles) == Load(2342, 2.0, 6143.0, 20500.0)


def test_h2load_is_understood() -> None:
    log = "1795193326152633\t200\t548\n1795193326152634\t200\t100\n1795193326152635\t200\t900\n"
    assert _load.parse_h2load(H2LOAD, log) == Load(3, 0.9985, 548.0, 900.0)


def test_sockperf_is_understood_of_the_time_that_it_counts() -> None:
    assert _load.parse_sockperf(SOCKPERF) == Load(79903, 1.55, 5.247, 28.747)


@pytest.mark.parametrize(
    "said",
    [
        WRK + "  Non-2xx or 3xx responses: 3\n",
        WRK + "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
    ],
)
def test_a_request_that_failed_spoils_a_round_of_wrk(said: str) -> None:
    with pytest.raises(AssertionError):
        _load.parse_wrk(said)


def test_a_request_that_failed_spoils_a_round_of_the_others() -> None:
    with pytest.raises(AssertionError):
        _load.parse_ab(AB.replace("requests:        0", "requests:        1"), "\n50,1\n99,1\n")
    with pytest.raises(AssertionError):
        _load.parse_h2load(H2LOAD.replace(" 0 errored", " 1 errored"), "1\t200\t5\n")
    with pytest.raises(AssertionError):
        _load.parse_h2load(H2LOAD, "1\t503\t5\n")
    with pytest.raises(AssertionError, match=r"http/1\.1"):
        _load.parse_h2load(H2LOAD.replace("h2", "http/1.1"), "1\t200\t5\n")


def test_a_packet_has_the_checksum_that_rfc_768_asks_for() -> None:
    made = _datagrams.packet("198.19.16.1", 1024, "198.19.16.3", 5400)
    assert len(made) == 20 + 8 + len(_datagrams.PAYLOAD)
    pseudo_header = made[12:20] + bytes((0, 17)) + made[24:26]
    total = sum(int.from_bytes((pseudo_header + made[20:])[at : at + 2]) for at in range(0, 12 + 26, 2))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF


def test_the_first_is_never_always_the_first() -> None:
    asked: list[str] = []

    def ask(one: Contender) -> Load:
        asked.append(one.what)
        return Load(100 if one.what == "ours" else 200, 1.0, client_cpu_s=0.01)

    found = compare("a title", "requests", Contender("ours", "::1"), Contender("theirs", "::1"), ask, 3)
    assert asked == ["ours", "theirs", "ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert found.ratios == [0.5, 0.5, 0.5]
    assert found.cpu_ratios == pytest.approx([0.5, 0.5, 0.5])
    assert "ratio 50.0% (half within 50.0% to 50.0%) (budget 95%: NOT MET)" in str(found)


def test_the_ratio_is_the_median_of_neighbouring_rounds() -> None:
    ours, theirs = (
        Rounds(Contender(name, "::1"), [Load(count, 1.0) for count in counts], [0.0] * 3)
        for name, counts in (("ours", (100, 50, 300)), ("theirs", (100, 25, 400)))
    )
    found = Comparison("", "requests", ours, theirs)
    assert found.ratios == [1.0, 2.0, 0.75]
    assert "ratio 100.0%" in str(found)
    assert "CPU second" not in str(found)  # none was counted


def test_our_configuration_runs_elsewhere() -> None:
    copy = _explain.portable(OURS, "11111111-2222-3333-4444-555555555555")
    assert "    bind 0.0.0.0:443 ssl crt /etc/benchmark/site.pem alpn h2\n" in copy
    assert "    stats socket /run/amphora/copy.sock mode" in copy
    assert "    server one 198.19.16.2:8081 weight 1\n" in copy


def test_each_directive_that_is_not_needed_is_left_out_once() -> None:
    found = dict(_explain.without_each(OURS))
    assert [one.split(" /")[0] for one in found] == [
        "global: user nobody",
        "global: stats socket",
        "defaults: option redispatch",
    ]
    assert found["global: user nobody"] == OURS.replace("    user nobody\n", "")


def test_what_is_tuned_by_hand_agrees_on_tls_as_the_listener_beside_it() -> None:
    listener = {
        "tls_ciphers": "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256",
        "tls_versions": ["TLSv1.3", "TLSv1.2"],
        "alpn_protocols": ["h2", "http/1.1"],
    }
    bind = "ciphers ECDHE-ECDSA-AES128-GCM-SHA256 ciphersuites TLS_AES_128_GCM_SHA256"
    made = _tuned.tls(listener, "198.19.16.2", (8081, 8082))
    assert f"{bind} ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.3 alpn h2,http/1.1\n" in made
