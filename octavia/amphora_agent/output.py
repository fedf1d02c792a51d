# SPDX-License-Identifier: Apache-2.0
"""What the agent prints, where that is a file: bounded, with one older one.

Whoever starts the agent on a machine of many amphorae opens the file, makes it standard output and standard
error, and says its path in ``AMPHORA_OUTPUT``. There is nobody between who could die or fall behind, and
nothing is copied: the file gets another name, and a new one takes its place under the same descriptors, so
that no line is lost. HAProxy, keepalived and rsyslogd print into pipes of the agent, which logs what they
say.
"""

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Final, TextIO

PATH: Final = "AMPHORA_OUTPUT"  # a variable of the environment
MOST_BYTES: Final = 4_000_000


class OutputHandler(logging.StreamHandler[TextIO]):
    """Logs to standard error; a file that has become too big becomes ``NAME.1`` first.

    :param path: of standard error; None: it is somebody else's.
    """

    def __init__(self, path: Path | None, most_bytes: int) -> None:
        super().__init__(sys.stderr)
        self._path = path
        self._most_bytes = most_bytes

    def emit(self, record: logging.LogRecord) -> None:
        """See the base class; one thread at a time."""
        if self._path is not None and self._is_big():
            with contextlib.suppress(OSError):  # the old one goes on
                self._begin_another(self._path)
        super().emit(record)

    def _is_big(self) -> bool:
        return os.fstat(sys.stderr.fileno()).st_size > self._most_bytes

    def _begin_another(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        if path.exists():
            path.replace(path.with_name(f"{path.name}.1"))
        new = os.open(path, flags, 0o600)
        try:
            sys.stderr.flush()
            for descriptor in (1, 2):
                os.dup2(new, descriptor)
        finally:
            os.close(new)


def handler() -> OutputHandler:
    """For this process, as its environment says."""
    path = os.environ.get(PATH)
    return OutputHandler(Path(path) if path else None, MOST_BYTES)
