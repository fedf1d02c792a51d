# SPDX-License-Identifier: Apache-2.0
"""Where the boot volumes of amphorae are made."""
