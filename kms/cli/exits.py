"""Exit codes (sysexits.h where it has one), and the one table from error codes to them."""

from enum import IntEnum

from kms.errors import ConclaveError


class Exit(IntEnum):
    """What the command's exit code says."""

    OK = 0
    ATTENTION = 3
    USAGE = 64
    INVALID = 65
    NOT_FOUND = 66
    UNAVAILABLE = 69
    INTERNAL = 70
    EXISTS = 73
    LATER = 75
    NOT_PERMITTED = 77
    CONFIGURATION = 78
    INTERRUPTED = 130


MEANINGS = {
    Exit.OK: "It was done.",
    Exit.ATTENTION: "It was answered, and people have to do something about what was found.",
    Exit.USAGE: "The command line is wrong.",
    Exit.INVALID: "The input is invalid, or a signature, proof or log does not hold.",
    Exit.NOT_FOUND: "It does not exist, or may not be known to the caller.",
    Exit.UNAVAILABLE: "The service, or a part that it needs, does not answer.",
    Exit.INTERNAL: "A fault in Conclave itself.",
    Exit.EXISTS: "It exists already and was left as it is.",
    Exit.LATER: "Not in the present state; look again, then try again.",
    Exit.NOT_PERMITTED: "The caller is not known, or the policy denies it.",
    Exit.CONFIGURATION: "The configuration or the PIN is unusable.",
    Exit.INTERRUPTED: "Interrupted at the keyboard.",
}
"""Each exit code in a sentence."""

EXIT_BY_CODE = {
    "invalid_input": Exit.INVALID,
    "share_refused": Exit.INVALID,
    "too_large": Exit.INVALID,
    "header_too_large": Exit.INVALID,
    "host_not_allowed": Exit.INVALID,
    "unsupported_media_type": Exit.INVALID,
    "method_not_allowed": Exit.INVALID,
    "verification_failed": Exit.INVALID,
    "envelope_refused": Exit.INVALID,
    "frame_refused": Exit.INVALID,
    "integrity_failure": Exit.INVALID,
    "idempotency_key_reused": Exit.INVALID,
    "not_found": Exit.NOT_FOUND,
    "already_exists": Exit.EXISTS,
    "conflict": Exit.LATER,
    "state_not_allowed": Exit.LATER,
    "on_hold": Exit.LATER,
    "retained": Exit.LATER,
    "precondition_failed": Exit.LATER,
    "request_timeout": Exit.LATER,
    "ceremony_abandoned": Exit.LATER,
    "unavailable": Exit.UNAVAILABLE,
    "hsm_unavailable": Exit.UNAVAILABLE,
    "store_unavailable": Exit.UNAVAILABLE,
    "audit_unavailable": Exit.UNAVAILABLE,
    "sealed": Exit.UNAVAILABLE,
    "too_many_attempts": Exit.LATER,
    "unauthenticated": Exit.NOT_PERMITTED,
    "confirmation_required": Exit.NOT_PERMITTED,
    "approval_required": Exit.NOT_PERMITTED,
    "assertion_required": Exit.NOT_PERMITTED,
    "forbidden": Exit.NOT_PERMITTED,
    "quorum_not_met": Exit.NOT_PERMITTED,
    "configuration_error": Exit.CONFIGURATION,
    "profile_error": Exit.CONFIGURATION,
    "pin_error": Exit.CONFIGURATION,
    "internal_error": Exit.INTERNAL,
}
"""Every stable error code and the exit code that it ends the command with."""


def exit_of(error: ConclaveError) -> Exit:
    """Return the exit code of an error; a code from a newer server counts as internal."""
    return EXIT_BY_CODE.get(error.code, Exit.INTERNAL)
