# SPDX-License-Identifier: Apache-2.0
"""The networks that VIPs, amphorae and members are on."""
