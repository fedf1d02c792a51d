# SPDX-License-Identifier: Apache-2.0
"""Steps: each makes one thing true, is idempotent, and looks for its own half-made work first."""
