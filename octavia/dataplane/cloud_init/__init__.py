# SPDX-License-Identifier: Apache-2.0
"""The files that an amphora is born with."""
