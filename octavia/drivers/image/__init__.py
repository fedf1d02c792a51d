# SPDX-License-Identifier: Apache-2.0
"""Where the images of amphorae are found."""
