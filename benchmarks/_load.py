# SPDX-License-Identifier: Apache-2.0
"""Programs that ask a data plane as fast as they can, and what they say of it.

Each is of the distribution and made for its purpose: wrk asks over lasting connections (and, told to close
each, takes its TLS session along to the next), ab makes a connection a request and times all of it, h2load
speaks HTTP/2, sockperf echoes datagrams. What is asked is not here: see :mod:`benchmarks.dataplane`.
"""

import csv
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks._report import percentile

PROGRAMS: Final = {"wrk": "wrk", "ab": "apache2-utils", "h2load": "nghttp2-client", "sockperf": "sockperf"}
"""Each with the Debian package that has it."""

_US: Final = {"us": 1.0, "ms": 1e3, "s": 1e6}
_MOST_REQUESTS: Final = 500_000  # ab reserves memory for so many; a round ends by time


@dataclass(frozen=True, slots=True)
class Load:
    """What was answered in one round.

    :param p50_us: and ``p99_us``: microseconds from question to answer; None where nothing is answered.
    :param client_cpu_s: CPU of who asked, where that includes the work that is measured.
    """

    answered: int
    seconds: float
    p50_us: float | None = None
    p99_us: float | None = None
    client_cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        return self.answered / self.seconds


def wrk(url: str, connections: int, seconds: int, *words: str) -> Load:
    """Over lasting connections; latency from a request's first byte to the end of its answer.

    :raises AssertionError: a request failed.
    """
    return parse_wrk(_run("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *words, url))


def parse_wrk(said: str) -> Load:
    assert "Non-2xx" not in said, said
    assert "Socket errors" not in said, said
    done = _found(r"(\d+) requests in ([\d.]+)(us|ms|s),", said)
    p50, p99 = (_found(rf"^ +{percent}% +([\d.]+)(us|ms|s)$", said) for percent in (50, 99))
    return Load(
        int(done[1]),
        float(done[2]) * _US[done[3]] / 1e6,
        float(p50[1]) * _US[p50[2]],
        float(p99[1]) * _US[p99[2]],
    )


def ab(url: str, connections: int, seconds: int) -> Load:
    """A connection a request, nothing kept between them; latency from the connect to the answer's end.

    :raises AssertionError: a request failed.
    """
    with tempfile.NamedTemporaryFile("r", suffix=".csv") as file:
        limits = ("-t", str(seconds), "-n", str(_MOST_REQUESTS))
        said = _run("ab", "-q", "-c", str(connections), *limits, "-e", file.name, url)
        return parse_ab(said, file.read())


def parse_ab(said: str, percentiles_ms: str) -> Load:
    """:param percentiles_ms: the CSV: a percentage and milliseconds a line."""
    assert _found(r"^Failed requests: +(\d+)", said)[1] == "0", said
    assert "Non-2xx" not in said, said
    rows = {row[0]: float(row[1]) * 1e3 for row in list(csv.reader(percentiles_ms.splitlines()))[1:]}
    return Load(
        int(_found(r"^Complete requests: +(\d+)", said)[1]),
        float(_found(r"^Time taken for tests: +([\d.]+) seconds", said)[1]),
        rows["50"],
        rows["99"],
    )


def h2load(url: str, connections: int, streams: int, seconds: int) -> Load:
    """HTTP/2; so many streams at once a connection.

    :raises AssertionError: a request failed, or it was not HTTP/2.
    """
    with tempfile.NamedTemporaryFile("r", suffix=".log") as file:
        words = (f"-c{connections}", f"-m{streams}", "-D", str(seconds), f"--log-file={file.name}")
        said = _run("h2load", *words, url)
        return parse_h2load(said, file.read())


def parse_h2load(said: str, log: str) -> Load:
    """:param log: a request a line: when, status, microseconds."""
    assert "Application protocol: h2" in said, said
    assert " 0 failed, 0 errored, 0 timeout" in said, said
    done = _found(r"^finished in ([\d.]+)(us|ms|s),", said)
    took = []
    for line in log.splitlines():
        _, status, us = line.split("\t")
        assert status == "200", line
        took.append(float(us))
    return Load(len(took), float(done[1]) * _US[done[2]] / 1e6, percentile(took, 50), percentile(took, 99))


def resumed(address: str, port: int, connections: int, seconds: int) -> Load:
    """TLS handshakes that take a session up again, a request each.

    wrk times only the request that follows; so another client, which asks meanwhile, times the whole.

    :raises AssertionError: a handshake was a new one, or a request failed.
    """
    program = (sys.executable, "-m", "benchmarks._resumed", address, str(port))
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe:
        assert probe.stdout
        try:
            assert probe.stdout.readline() == "ready\n", "the client that times handshakes has failed"
            load = wrk(f"https://{address}:{port}/", connections, seconds, "-H", "Connection: close")
            said, _ = probe.communicate()
        finally:
            probe.kill()
    assert probe.returncode == 0, said
    took = [float(one) for one in said.split()]
    return Load(load.answered + len(took), load.seconds, percentile(took, 50), percentile(took, 99))


def echo(address: str, port: int, flows: int, seconds: int) -> Load:
    """Datagrams back and forth, one under way a flow; the percentiles are the worst flow's.

    :raises AssertionError: nothing came back.
    """
    words = (
        "sockperf",
        "ping-pong",
        "-i",
        address,
        "-p",
        str(port),
        "-t",
        str(seconds),
        "--full-rtt",
    )
    running = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(flows)
    ]
    with _ended(running):
        found = [parse_sockperf(one.communicate()[0]) for one in running]
    return Load(
        sum(one.answered for one in found),
        max(one.seconds for one in found),
        max(one.p50_us or 0 for one in found),
        max(one.p99_us or 0 for one in found),
    )


def parse_sockperf(said: str) -> Load:
    valid = _found(r"\[Valid Duration\] RunTime=([\d.]+) sec;.*ReceivedMessages=(\d+)", said)
    assert int(valid[2]), said
    p50, p99 = (
        float(_found(rf"percentile {percent} += +([\d.]+)", said)[1]) for percent in ("50.000", "99.000")
    )
    return Load(int(valid[2]), float(valid[1]), p50, p99)


@contextmanager
def _ended(processes: Sequence["subprocess.Popen[str]"]) -> Iterator[None]:
    try:
        yield
    finally:
        for one in processes:
            one.kill()
            one.wait()


def _run(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def _found(pattern: str, text: str) -> re.Match[str]:
    found = re.search(pattern, text, re.MULTILINE)
    assert found, f"no {pattern!r} in: {text}"
    return found
