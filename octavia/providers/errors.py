# SPDX-License-Identifier: Apache-2.0
"""What providers answer besides success."""

from octavia.domain.errors import OctaviaError


class UnsupportedOption(OctaviaError):
    """The provider exists and cannot do this; the API answers 501."""

    @classmethod
    def of(cls, provider: str, why: str) -> "UnsupportedOption":
        """In the words that clients know."""
        return cls(f"Provider '{provider}' does not support a requested option: {why}")


class ProviderFailed(OctaviaError):
    """The provider broke; the API answers 500 with its text."""
