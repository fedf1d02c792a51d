# SPDX-License-Identifier: Apache-2.0
"""What a step is, and how one is attempted."""

import logging
from typing import Protocol

from octavia.domain.errors import Fenced, OctaviaError, Refused, RequestError, Transient, Unreachable
from octavia.worker.outcome import Failed, Outcome
from octavia.worker.world import Branch

LOG = logging.getLogger(__name__)


class Step(Protocol):
    """One thing to make true."""

    def apply(self, branch: Branch) -> Outcome:
        """Make it true, or find that it is. May be called again at any moment, after any crash.

        Domain errors may be raised: :func:`attempt` turns them into outcomes.
        """


def attempt(step: Step, branch: Branch) -> Outcome:
    """The outcome of a step, whatever happens in it."""
    name = type(step).__name__
    try:
        outcome = step.apply(branch)
    except Fenced as error:
        outcome = Failed(error.why, code="FENCED", fenced_by=error.highest)
    except Unreachable as error:
        outcome = Failed(error.why, code="UNREACHABLE")
    except Transient as error:
        outcome = Failed(error.why, code="TRANSIENT", retry_after=error.retry_after.total_seconds())
    except Refused as error:
        outcome = Failed(error.why, code="REFUSED", retry_after=10)
    except RequestError as error:
        outcome = Failed(error.why, code="REJECTED", retry_after=10)
    except OctaviaError as error:
        outcome = Failed(error.why, code="TERMINAL", retry_after=10)
    except Exception:
        LOG.exception("Step %s of load balancer %s", name, branch.lb.id)
        outcome = Failed(
            f"An internal error stopped the step {name}; the worker's log has the details",
            code="INTERNAL",
            retry_after=5,
        )
    LOG.debug("%s %s: %s", branch.lb.id, name, outcome)
    return outcome
