# SPDX-License-Identifier: Apache-2.0
"""Schema migrations, one linear history (``octavia-db-manage``)."""
