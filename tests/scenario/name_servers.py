# SPDX-License-Identifier: Apache-2.0
"""dnsmasq as a member, and who asks it: dig and dnsperf, in the network of the thread that starts them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.scenario.test_up import eventually

NAME: Final = "www.example.org"


@contextmanager
def name_server(name: str, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """dnsmasq, which knows one host and its own name."""
    command = ("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-")
    knows = (f"--host-record={NAME},192.0.2.80", f"--txt-record=whoami.example.org,{name}")
    with subprocess.Popen(
        [*command, "--no-resolv", "--no-hosts", "--user=root", "--port", str(port), *knows],
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert eventually(lambda: who_answers("127.0.0.1", port) == name, within=60)
            yield process
        finally:
            process.kill()


def who_answers(address: str, port: int = 53, *options: str) -> str | None:
    where = (f"@{address}", "-p", str(port), "+time=2", "+tries=1", "+short", *options)
    done = subprocess.run(
        ["dig", *where, "whoami.example.org", "TXT"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip().strip('"') if done.returncode == 0 else None


@contextmanager
def asking(vip: str, directory: Path, mode: str = "udp", seconds: int = 6) -> Iterator[dict[str, int]]:
    """dnsperf; afterwards how many queries were sent, completed and lost.

    dnsmasq takes a hundred queries a TCP connection: that many are never asked.
    """
    questions = directory / "questions"
    questions.write_text(f"{NAME} A\n")
    counts: dict[str, int] = {}
    rate = ("-c", "10", "-Q", "150", "-l", str(seconds), "-t", "2")
    with subprocess.Popen(
        ["dnsperf", "-s", vip, "-d", questions, "-m", mode, *rate], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Sending queries" in line:
                break
        yield counts
        for line in process.stdout:
            words = line.split()
            if words[:1] == ["Queries"] and words[1] in ("sent:", "completed:", "lost:"):
                counts[words[1].rstrip(":")] = int(words[2])
    assert process.returncode == 0
