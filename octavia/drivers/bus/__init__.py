# SPDX-License-Identifier: Apache-2.0
"""The doorbell between those who write to the work queue and the workers."""
