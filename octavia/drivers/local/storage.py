# SPDX-License-Identifier: Apache-2.0
"""Files that only root may read and that a crash leaves either old or new, never half."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def make_private_directory(path: Path) -> None:
    """Make it, mode 0700; existing is a success. Missing parents get the usual mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)


def write_private(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a file's content in one step, mode 0600. Writers of one file take turns: see :func:`locked`.

    :param durable: survive a power cut too. A file that means nothing after a reboot needs not.
    """
    # Always the same name, so that what a killed writer left is used up by the next one.
    beside = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(beside, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if durable:
        _sync_directory(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock against other threads and processes; made if missing, mode 0600."""
    # Each opening has a lock of its own, so flock parts threads as well as processes.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_directory(path: Path) -> Iterator[bool]:
    """Hold a directory's lock; False if there is no such directory."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield False
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Its holder may have removed it, and somebody may have made it anew.
            if _is_still(path, descriptor):
                yield True
                return
        finally:
            os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
