# SPDX-License-Identifier: Apache-2.0
"""What the drivers of a single machine share: names, links, processes, the address book."""
