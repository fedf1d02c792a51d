# SPDX-License-Identifier: Apache-2.0
"""What providers answer besides success, and octavia-lib's exceptions in our terms.

Contract: provider-drivers.md section 4; the texts are the ones of api.md section 2.6.
"""

import builtins
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from octavia_lib.api.drivers import exceptions as lib

from octavia.domain.errors import Conflict, OctaviaError

LOG: Final = logging.getLogger(__name__)


class UnsupportedOption(OctaviaError):
    """The provider exists and cannot do this; the API answers 501."""

    @classmethod
    def of(cls, provider: str, why: str) -> "UnsupportedOption":
        """In the words that clients know."""
        return cls(f"Provider '{provider}' does not support a requested option: {why}")


class UnsupportedAction(UnsupportedOption):
    """The provider has no such call at all; the API answers 501."""

    @classmethod
    def of(cls, provider: str, why: str) -> "UnsupportedAction":
        """In the words that clients know."""
        return cls(f"Provider '{provider}' does not support a requested action: {why}")


class ProviderFailed(OctaviaError):
    """The provider broke; the API answers 500 with its text."""

    @classmethod
    def of(cls, provider: str, why: str) -> "ProviderFailed":
        """In the words that clients know."""
        return cls(f"Provider '{provider}' reports error: {why}")


@contextmanager
def translated(provider: str) -> Iterator[None]:
    """Octavia-lib's exceptions become ours; what is for operators is logged.

    :raises Conflict: something is in use, such as the VIP's address.
    :raises UnsupportedOption: the provider cannot do it.
    :raises ProviderFailed: anything else, in the provider's words if they are meant for users.
    """
    try:
        yield
    except lib.Conflict as error:
        raise Conflict(f"The VIP IP address is already in use: {_told(provider, error)}") from error
    except (lib.NotImplementedError, builtins.NotImplementedError) as error:
        raise UnsupportedAction.of(provider, _told(provider, error, logging.INFO)) from error
    except lib.UnsupportedOptionError as error:
        raise UnsupportedOption.of(provider, _told(provider, error, logging.INFO)) from error
    except (lib.DriverError, lib.NotFound) as error:
        raise ProviderFailed.of(provider, _told(provider, error)) from error
    except OctaviaError:  # of one of our own drivers
        raise
    except Exception as error:
        # Its text was never meant for users, and may name what is not theirs to know.
        LOG.exception("Provider %s failed", provider)
        raise ProviderFailed.of(provider, "an unknown error; the log of the API says which.") from error


def _told(provider: str, error: Any, level: int = logging.ERROR) -> str:
    """What the user is told; the rest is logged."""
    LOG.log(level, "Provider %s: %s", provider, getattr(error, "operator_fault_string", None) or error)
    return str(getattr(error, "user_fault_string", None) or "This is not implemented by the provider.")
