# SPDX-License-Identifier: Apache-2.0
"""The worker against a world in memory."""
