"""The exception tree. Every error that can reach a caller has one stable code.

ConclaveError
├── InvalidInput            invalid_input
│   └── ShareRefused        share_refused
├── Unauthenticated         unauthenticated
├── TooManyAttempts         too_many_attempts
├── Forbidden               forbidden
│   ├── ApprovalRequired    approval_required
│   ├── ConfirmationRequired confirmation_required
│   └── QuorumNotMet        quorum_not_met
├── NotFound                not_found
├── Conflict                conflict
│   ├── AlreadyExists       already_exists
│   ├── StateNotAllowed     state_not_allowed
│   ├── OnHold              on_hold
│   ├── Retained            retained
│   ├── PreconditionFailed  precondition_failed
│   └── IdempotencyKeyReused idempotency_key_reused
├── TooLarge                too_large
├── HeaderTooLarge          header_too_large
├── RequestTimeout          request_timeout
├── HostNotAllowed          host_not_allowed
├── MethodNotAllowed        method_not_allowed
├── UnsupportedMediaType    unsupported_media_type
├── IntegrityFailure        integrity_failure
├── EnvelopeRefused         envelope_refused
├── FrameRefused            frame_refused
├── VerificationFailed      verification_failed
├── Abandoned               ceremony_abandoned
├── AssertionRequired       assertion_required
├── Unavailable             unavailable
│   ├── Sealed              sealed
│   ├── HsmUnavailable      hsm_unavailable
│   ├── StoreUnavailable    store_unavailable
│   └── AuditUnavailable    audit_unavailable
└── ConfigurationError      configuration_error
    ├── ProfileError        profile_error
    └── PinError            pin_error
"""

from collections.abc import Mapping
from typing import ClassVar


class ConclaveError(Exception):
    """Root of the tree. ``hint`` says what to do next; neither text ever holds a secret.

    ``about``: what stands in the braces of both, kept apart so that it can be translated; several
    words as a tuple.
    """

    code: ClassVar[str] = "internal_error"

    def __init__(
        self, message: str, *, hint: str = "", about: Mapping[str, object] | None = None
    ) -> None:
        self.source, self.next, self.about = message, hint, about or {}
        self.message, self.hint = self._filled(message), self._filled(hint)
        super().__init__(self.message)

    def _filled(self, text: str) -> str:
        said = {
            key: ", ".join(map(str, one)) if isinstance(one, tuple) else one
            for key, one in self.about.items()
        }
        return text.format(**said) if said else text


class InvalidInput(ConclaveError):
    """The request cannot mean anything; nothing was changed."""

    code = "invalid_input"


class ShareRefused(InvalidInput):
    """A share is not one that is wanted here.

    ``fault`` says in one word why.
    """

    code = "share_refused"

    def __init__(self, message: str, *, fault: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.fault = fault


class Unauthenticated(ConclaveError):
    """The peer is not one that the configuration or a ceremony names."""

    code = "unauthenticated"


class TooManyAttempts(ConclaveError):
    """Too many attempts were refused; more that fail are answered late and not looked into."""

    code = "too_many_attempts"


class Forbidden(ConclaveError):
    """The policy denies it."""

    code = "forbidden"


class ConfirmationRequired(Forbidden):
    """A risky act wants fresh proof of who asks for it."""

    code = "confirmation_required"


class ApprovalRequired(Forbidden):
    """It is carried out by an approved request alone."""

    code = "approval_required"


class QuorumNotMet(Forbidden):
    """Too few people, or the wrong ones, approved it."""

    code = "quorum_not_met"


class NotFound(ConclaveError):
    """It does not exist, or the caller may not know that it does."""

    code = "not_found"


class Conflict(ConclaveError):
    """The request does not fit what is there."""

    code = "conflict"


class AlreadyExists(Conflict):
    """A thing with that name is there."""

    code = "already_exists"


class StateNotAllowed(Conflict):
    """The operation is not allowed in the present state."""

    code = "state_not_allowed"


class OnHold(Conflict):
    """A legal hold forbids the destruction."""

    code = "on_hold"


class Retained(Conflict):
    """The time for which it has to be kept is not over."""

    code = "retained"


class PreconditionFailed(Conflict):
    """The version that the caller saw is not the present one."""

    code = "precondition_failed"


class IdempotencyKeyReused(Conflict):
    """The idempotency key was used with another request."""

    code = "idempotency_key_reused"


class TooLarge(ConclaveError):
    """The request is larger than the limit."""

    code = "too_large"


class RequestTimeout(ConclaveError):
    """The request did not arrive in time."""

    code = "request_timeout"


class HeaderTooLarge(ConclaveError):
    """The request's head is larger than the limit."""

    code = "header_too_large"


class HostNotAllowed(ConclaveError):
    """The request names a host that this service is not."""

    code = "host_not_allowed"


class UnsupportedMediaType(ConclaveError):
    """The body is not said to be JSON."""

    code = "unsupported_media_type"


class MethodNotAllowed(ConclaveError):
    """The path has no such method."""

    code = "method_not_allowed"


class IntegrityFailure(ConclaveError):
    """Stored data is not what the service wrote. One answer for every kind of tampering."""

    code = "integrity_failure"


class EnvelopeRefused(ConclaveError):
    """An envelope does not open. One answer for every cause."""

    code = "envelope_refused"


class FrameRefused(ConclaveError):
    """A media frame is not sealed or does not open. One answer for every forged frame."""

    code = "frame_refused"


class VerificationFailed(ConclaveError):
    """A signature, proof or statement does not hold."""

    code = "verification_failed"


class Abandoned(ConclaveError):
    """Somebody did not confirm, so the ceremony stopped."""

    code = "ceremony_abandoned"


class Unavailable(ConclaveError):
    """A part that the operation needs is down; trying later may help."""

    code = "unavailable"


class AssertionRequired(ConclaveError):
    """A confidential meeting's envelope wants a fresh assertion of who is there."""

    code = "assertion_required"


class Sealed(Unavailable):
    """The space or the whole box was sealed by an officer: no key operation until the unsealing."""

    code = "sealed"


class HsmUnavailable(Unavailable):
    """The HSM or its worker does not answer. Whether a create took effect is unknown."""

    code = "hsm_unavailable"


class StoreUnavailable(Unavailable):
    """The store cannot be read or written."""

    code = "store_unavailable"


class AuditUnavailable(Unavailable):
    """The audit log cannot be written or signed, so no key operation happens."""

    code = "audit_unavailable"


class ConfigurationError(ConclaveError):
    """The configuration is unusable."""

    code = "configuration_error"


class ProfileError(ConfigurationError):
    """The HSM profile is unusable or does not fit the module."""

    code = "profile_error"


class PinError(ConfigurationError):
    """The PIN was refused or not given. One attempt is made, never more."""

    code = "pin_error"
