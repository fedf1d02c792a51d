# SPDX-License-Identifier: Apache-2.0
"""A network namespace of a test's own: nothing that the test does reaches the machine's network."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network() -> Iterator[None]:
    """Move this thread, and what it starts, into a new network namespace, and back again."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a network namespace")
    with _back_again():
        if _libc.unshare(_CLONE_NEWNET) != 0:
            pytest.skip("needs network namespaces: " + os.strerror(ctypes.get_errno()))
        yield


@contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Move this thread, and what it starts, into the network namespace of a process, and back again."""
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        with _back_again():
            assert _libc.setns(there, _CLONE_NEWNET) == 0
            yield
    finally:
        os.close(there)


@contextmanager
def _back_again() -> Iterator[None]:
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        try:
            yield
        finally:
            assert _libc.setns(before, _CLONE_NEWNET) == 0
    finally:
        os.close(before)
