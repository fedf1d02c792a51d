# SPDX-License-Identifier: Apache-2.0
"""Load balancers in the database: read whole as trees, and saved by their differences."""
