# SPDX-License-Identifier: Apache-2.0
"""A client that asks a VIP again and again, to see for how long it is silent.

Each question is a connection of its own, begun every 20 ms whether or not earlier ones were answered: a
client that waits for one lost packet would measure its own patience.
"""

import asyncio
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Final, Self

PERIOD_SECONDS: Final = 0.02
_PATIENCE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One question that was answered with 200; times are monotonic seconds."""

    asked: float
    answered: float
    body: str


class Probe:
    """Asks from ``with`` to its end, in a thread of its own."""

    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port
        self._answers: list[Answer] = []
        self._failures: list[float] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask()), name="probe", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_answers(self, since: float, *, count: int, timeout_seconds: float) -> bool:
        """Wait until ``count`` questions asked after ``since`` have been answered; False if they were not."""
        with self._changed:
            return self._changed.wait_for(
                lambda: sum(1 for answer in self._answers if answer.asked >= since) >= count,
                timeout=timeout_seconds,
            )

    def answers(self) -> list[Answer]:
        """In the order in which they were answered."""
        with self._changed:
            return list(self._answers)

    def failures(self, since: float = 0.0) -> int:
        """Questions asked after ``since`` that nobody answered with 200."""
        with self._changed:
            return sum(1 for asked in self._failures if asked >= since)

    def silence(self, since: float) -> float:
        """The longest time without an answer, in seconds, between ``since`` and now."""
        moments = [since, *(answer.answered for answer in self.answers() if answer.answered >= since)]
        if len(moments) == 1:
            return time.monotonic() - since
        return max(later - earlier for earlier, later in pairwise(moments))

    async def _ask(self) -> None:
        questions: set[asyncio.Task[None]] = set()
        while not self._stop.is_set():
            question = asyncio.create_task(self._question())
            questions.add(question)
            question.add_done_callback(questions.discard)
            await asyncio.sleep(PERIOD_SECONDS)
        await asyncio.gather(*questions)

    async def _question(self) -> None:
        asked = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                body = await fetch(self._address, self._port)
        except (OSError, ValueError, asyncio.IncompleteReadError):
            with self._changed:
                self._failures.append(asked)
        else:
            with self._changed:
                self._answers.append(Answer(asked, time.monotonic(), body))
                self._changed.notify_all()


async def fetch(address: str, port: int) -> str:
    """The body of ``GET /``, over a connection of its own.

    :raises OSError: no connection (a time limit of the caller is a :class:`TimeoutError`, which is one).
    :raises ValueError: an answer other than 200.
    """
    reader, writer = await asyncio.open_connection(address, port)
    try:
        host = f"[{address}]" if ":" in address else address
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        status, _, rest = (await reader.read()).partition(b"\r\n")
        if status.split(b" ")[1:2] != [b"200"]:
            raise ValueError(f"answered {status.decode(errors='replace')!r}")
        return rest.partition(b"\r\n\r\n")[2].decode(errors="replace").strip()
    finally:
        writer.close()
