"""From PKCS#11's errors to ours. Outside kms.hsm nothing sees python-pkcs11."""

import re
from enum import StrEnum

from pkcs11 import exceptions
from pkcs11.exceptions import PKCS11Error

from kms.errors import HsmUnavailable, PinError, ProfileError
from kms.hsm.profile import Errors

_PIN_ERRORS = (
    exceptions.PinExpired,
    exceptions.PinIncorrect,
    exceptions.PinInvalid,
    exceptions.PinLenRange,
    exceptions.PinLocked,
    exceptions.UserPinNotInitialized,
)
_SPELLED_OTHERWISE = {"CKR_TOKEN_NOT_RECOGNISED": "CKR_TOKEN_NOT_RECOGNIZED"}


class Action(StrEnum):
    """What follows an error. The session is gone in every case."""

    FAIL = "fail"
    RETRY = "retry"
    RELOGIN = "relogin"
    FATAL = "fatal"


class TokenFault(HsmUnavailable):
    """The token refused or failed; ``action`` says what the profile advises."""

    def __init__(self, message: str, *, hint: str = "", action: Action = Action.FAIL) -> None:
        super().__init__(message, hint=hint)
        self.action = action


def _ckr_names() -> dict[type[PKCS11Error], str]:
    names: dict[type[PKCS11Error], str] = {}
    for value in vars(exceptions).values():
        if isinstance(value, type) and issubclass(value, PKCS11Error):
            snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", value.__name__).upper()
            names[value] = _SPELLED_OTHERWISE.get(f"CKR_{snake}", f"CKR_{snake}")
    return names


class Faults:
    """The error rules of one profile; raise ProfileError for a code that is not known."""

    def __init__(self, rules: Errors) -> None:
        self._names = _ckr_names()
        self._actions = {
            **dict.fromkeys(rules.retry, Action.RETRY),
            **dict.fromkeys(rules.relogin, Action.RELOGIN),
            **dict.fromkeys(rules.fatal, Action.FATAL),
        }
        unknown = set(self._actions) - set(self._names.values())
        if unknown:
            raise ProfileError(f"unknown PKCS#11 error codes: {', '.join(sorted(unknown))}")

    def translate(self, error: PKCS11Error) -> PinError | TokenFault:
        """Return our error. Its text is the code's name, never what was passed in."""
        name = self._names.get(type(error), "CKR of another kind")
        if isinstance(error, _PIN_ERRORS):
            return PinError(
                f"the token did not take the PIN ({name})",
                hint="no second attempt is made: check the PIN before you start again",
            )
        return TokenFault(f"the token answered {name}", action=self._actions.get(name, Action.FAIL))
