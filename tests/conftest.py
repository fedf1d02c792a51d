# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

from hypothesis import settings

# No test is judged by the time that it takes: a machine may be busy.
settings.register_profile("octavia", deadline=None)
settings.load_profile("octavia")
