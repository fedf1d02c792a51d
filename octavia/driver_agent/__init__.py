# SPDX-License-Identifier: Apache-2.0
"""Where third-party providers report: three unix sockets, and processes for the providers' own agents.

Contract: provider-drivers.md section 6. What is reported and asked is in :mod:`octavia.providers.updates`.
"""
