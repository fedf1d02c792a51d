# SPDX-License-Identifier: Apache-2.0
"""Files that are either the old ones or the new ones, whatever dies when."""

import os
from pathlib import Path
from typing import Final

_WRITING: Final = ".writing"


def write(path: Path, content: bytes | str, *, mode: int = 0o600) -> None:
    """Replace a file in one step, on the disk when this returns; its directory is made if missing.

    :raises OSError: the disk is full or read-only; the old file is still there.
    """
    beside = _beside(path)
    draft(beside, content, mode=mode)
    rename(beside, path)


def remove_leftover(path: Path) -> None:
    """Remove what a killed :func:`write` to this file left; absent is a success."""
    _beside(path).unlink(missing_ok=True)


def remove_leftovers(directory: Path) -> None:
    """The same for every file beneath a directory, which nobody may be writing to."""
    for path in directory.rglob(f"*{_WRITING}"):
        path.unlink(missing_ok=True)


def draft(path: Path, content: bytes | str, *, mode: int = 0o600) -> None:
    """Write a file for a later :func:`rename`: until then it need not survive the machine.

    :raises OSError: the disk is full or read-only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # the umask, or a leftover of another mode
        file.write(data)


def rename(source: Path, target: Path) -> None:
    """Rename within a directory; content and name are on the disk when this returns."""
    _synchronise(source, os.O_RDONLY)
    os.replace(source, target)
    _synchronise(target.parent, os.O_RDONLY | os.O_DIRECTORY)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}{_WRITING}")


def _synchronise(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
