# SPDX-License-Identifier: Apache-2.0
"""keepalived: who of a pair owns the VIP."""
