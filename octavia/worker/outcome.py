# SPDX-License-Identifier: Apache-2.0
"""What a step answers. A step's exceptions never reach the engine: they become one of these."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """What the step makes true is true.

    :param further: the load balancer got nearer to what is wanted, so back-off starts anew.
    """

    further: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet, through nobody's fault; come again.

    :param why: a sentence for the tenant: what is awaited.
    """

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It went wrong; it is tried again, with back-off, until the deadline and beyond.

    :param why: a sentence that says what went wrong and, if possible, what to do.
    :param retry_after: seconds until it is worth another try; back-off may make it longer.
    :param fenced_by: the higher fencing number that was met, if that is what went wrong.
    """

    why: str
    code: str = "FAILED"
    retry_after: float = 1.0
    fenced_by: int | None = None


Outcome = Done | Wait | Failed
