# SPDX-License-Identifier: Apache-2.0
"""VRRP states out of /proc, and the check scripts of REST 1.0."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from octavia.amphora_agent.keepalived import haproxy_check_script, local_addresses

FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.88.0.0/24 2 0 2
        |-- 10.88.0.11
           /32 host LOCAL
        |-- 10.88.0.255
           /32 link BROADCAST
Local:
  +-- 10.88.0.0/24 2 0 2
        |-- 10.88.0.11
           /32 host LOCAL
        |-- 10.88.0.100
           /32 host LOCAL
"""


def test_the_kernels_own_tables_say_which_addresses_are_here(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(FIB_TRIE)
    (tmp_path / "if_inet6").write_text("20010db8000000000000000000000005 03 80 00 80     eth1\n")
    assert local_addresses(tmp_path) == {"10.88.0.11", "10.88.0.100", "2001:db8::5"}


def test_it_reads_this_machines_tables() -> None:
    assert "127.0.0.1" in local_addresses(Path(f"/proc/{os.getpid()}/net"))


@contextmanager
def _haproxy(path: Path, answer: bytes) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(100) == b"show stat -1 -1 -1\n"
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def _run(script: str) -> int:
    return subprocess.run(["bash", "-c", script], capture_output=True, check=False, timeout=20).returncode


@pytest.mark.parametrize(("answer", "code"), [(b"# pxname,svname\n", 0), (b"", 1)])
def test_the_check_script_asks_every_socket(tmp_path: Path, answer: bytes, code: int) -> None:
    path = tmp_path / "a b.sock"
    with _haproxy(path, answer):
        assert _run(haproxy_check_script([path])) == code


def test_a_socket_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    assert _run(haproxy_check_script([tmp_path / "none.sock"])) == 1


def test_without_anything_to_serve_nothing_has_failed() -> None:
    assert _run(haproxy_check_script([])) == 0


def test_the_check_starts_without_any_package() -> None:
    program = Path(__file__).parents[3] / "octavia" / "cmd" / "haproxy_vrrp_check.py"
    argv = [sys.executable, "-S", "-E", "-X", "importtime", str(program)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0
    assert "octavia" not in done.stderr
