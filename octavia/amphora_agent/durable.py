# SPDX-License-Identifier: Apache-2.0
"""Files that are either the old ones or the new ones, whatever dies when."""

import os
from pathlib import Path


def write(path: Path, content: bytes | str, *, mode: int = 0o600) -> None:
    """Replace a file in one step, on the disk when this returns; its directory is made if missing.

    :raises OSError: the disk is full or read-only; the old file is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.writing")
    data = content.encode() if isinstance(content, str) else content
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # the umask, or a leftover of another mode
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    rename(beside, path)


def rename(source: Path, target: Path) -> None:
    """Rename within a directory, on the disk when this returns."""
    os.replace(source, target)
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
