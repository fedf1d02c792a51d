# SPDX-License-Identifier: Apache-2.0
"""UDP and SCTP listeners: what they should do, as nftables rules or as keepalived's LVS files."""
