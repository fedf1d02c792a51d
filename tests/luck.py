# SPDX-License-Identifier: Apache-2.0
"""Where random tests begin: at the same place each time, or, with ``OCTAVIA_FRESH=1``, at a new one.

A run of the suite says something of a change; to find what nobody thought of is ``./dev explore``.
"""

import os
import random
from typing import Final

FRESH: Final = os.environ.get("OCTAVIA_FRESH") == "1"
_ALWAYS: Final = 20_261_120


def seed(variable: str) -> int:
    """What that environment variable says, else the seed of this run; a test prints it where it fails."""
    given = int(os.environ.get(variable, "0"))
    return given or (random.SystemRandom().randrange(1, 10**6) if FRESH else _ALWAYS)
