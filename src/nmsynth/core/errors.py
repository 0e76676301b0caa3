"""Exceptions a caller of nmsynth can meet.

Every message states what must hold, what was found, and what to do; it is one line and
names no patient.
"""

from __future__ import annotations


class NmsynthError(Exception):
    """Base of every error that nmsynth raises on purpose."""

    exit_code = 2
    """Exit status of the command line for this error."""


class InputError(NmsynthError):
    """A user's mistake: a wrong path, option, value or combination."""


class MissingExtraError(NmsynthError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class RefusalError(NmsynthError):
    """nmsynth refuses to go on, with a reason."""

    exit_code = 3


class UnsafeInputError(RefusalError):
    """The input is damaged, contradictory or hostile: using it could give a wrong image."""


class EnvelopeError(RefusalError):
    """The input lies outside what the model was trained and tested for."""


class SuvError(RefusalError):
    """No SUV can be stated; the message gives the reason."""


class NumericalError(NmsynthError):
    """A computation gave NaN or infinity; nothing was written."""

    exit_code = 1
