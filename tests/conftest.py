# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

from hypothesis import settings

from tests import luck

# No test is judged by the time that it takes: a machine may be busy.
settings.register_profile("octavia", deadline=None, derandomize=not luck.FRESH)
settings.load_profile("octavia")
