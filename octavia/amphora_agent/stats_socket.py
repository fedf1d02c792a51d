# SPDX-License-Identifier: Apache-2.0
"""Talking to a running HAProxy. What to say and how to read the answer: :mod:`octavia.dataplane.haproxy`."""

import socket
from pathlib import Path
from typing import Final

TIMEOUT_SECONDS: Final = 5.0
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024


class NoAnswer(Exception):
    """HAProxy is not there, or does not talk."""


def ask(path: Path, command: str, payload: str = "") -> str:
    """One command, one answer, blank lines at its end removed.

    :param payload: whole lines, none of them empty.
    :raises NoAnswer: see the text.
    """
    if "\n" in command or "\n\n" in payload:
        raise ValueError("one command a call: a second line would be a second command")
    sent = f"{command} <<\n{payload}\n" if payload else f"{command}\n"
    pieces = []
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            connection.connect(str(path))
            connection.sendall(sent.encode())
            size = 0
            while piece := connection.recv(65536):
                pieces.append(piece)
                size += len(piece)
                if size > _MAX_ANSWER_BYTES:
                    raise NoAnswer(f"{path} answers without end")
    except OSError as error:
        raise NoAnswer(f"{path}: {error}") from error
    return b"".join(pieces).decode(errors="replace").rstrip("\n")


def worker_pid(path: Path) -> int | None:
    """The process that answers; None while none does."""
    try:
        answer = ask(path, "show info")
    except NoAnswer:
        return None
    for line in answer.splitlines():
        name, _, value = line.partition(": ")
        if name == "Pid" and value.isdigit():
            return int(value)
    return None
