# SPDX-License-Identifier: Apache-2.0
"""What ``octavia-standalone`` says when it cannot go on."""


class Refusal(Exception):
    """One sentence that says what is in the way and what to do about it."""
