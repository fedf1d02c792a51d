# SPDX-License-Identifier: Apache-2.0
"""One module a resource: what each method of each URL does."""
