# SPDX-License-Identifier: Apache-2.0
"""What time alone brings: rows grow old, reservations expire, resources lose their owners."""
