# SPDX-License-Identifier: Apache-2.0
"""Telling what happens while it happens, with the time since the beginning."""

import time


class Narrator:
    """Prints one line a step; ASCII, for terminals and logs alike."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """A step is done."""
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", flush=True)

    def show(self, text: str) -> None:
        """Something to look at: a command, an answer."""
        for line in text.splitlines():
            print(f"{'':10} {line}", flush=True)
