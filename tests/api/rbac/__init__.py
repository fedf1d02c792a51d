# SPDX-License-Identifier: Apache-2.0
"""Who may do what, through the whole application with ``auth_strategy = testing``."""
