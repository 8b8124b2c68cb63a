"""Shows a request for approval in plain words, read from what was signed and nothing else."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kms.cli.output import Output, moment, word
from kms.domain.asked import flat, missing_in_words, needs_in_words, summary_of
from kms.domain.text import visible
from kms.errors import VerificationFailed
from kms.i18n import _

if TYPE_CHECKING:
    from kms.statements.request import OperationRequest
    from kms.wire.approvals import RequestOut


def read_request(found: "RequestOut") -> "OperationRequest":
    """Return what a request's JWS says; raise InvalidInput, VerificationFailed if the service shows
    something else beside it.
    """
    from kms.statements.request import check_form, peek_request  # noqa: PLC0415 -- heavy

    wanted = peek_request(found.request)
    check_form(wanted)
    told = (found.id, found.space or "", found.operation, found.digest)
    if told != (wanted.id, wanted.space, wanted.operation, wanted.digest()):
        raise VerificationFailed(
            "the service shows another request than the one that was signed",
            hint="sign nothing, and tell the security officers",
        )
    return wanted


def note_request(output: Output, wanted: "OperationRequest") -> None:
    """Show everything that a signature on the request covers, and its digest in hex and words."""
    from kms.ceremonies.people.words import digest_words  # noqa: PLC0415 -- heavy
    from kms.statements.canonical import unb64u  # noqa: PLC0415 -- heavy

    for line in _lines(wanted):
        output.to_sign(line)
    sha256 = unb64u(wanted.digest())
    output.to_sign(_("To sign: SHA-256 {sha256}").format(sha256=sha256.hex()))
    output.banner(" ".join(digest_words(sha256)))


def request_document(found: "RequestOut") -> dict[str, Any]:
    """Return a request as JSON, its digest also as people see it when they sign."""
    from kms.statements.canonical import unb64u  # noqa: PLC0415 -- heavy

    return {**found.model_dump(mode="json"), "digest_hex": unb64u(found.digest).hex()}


def request_row(found: "RequestOut") -> dict[str, Any]:
    """Return a request's fields in the present language."""
    ready = _("approved, can be carried out")
    return {
        **request_document(found),
        "lacking": missing_in_words(found.missing, lacks_credential=found.lacks_credential),
        "standing": ready if found.ready else word(found.state.value),
    }


def _lines(wanted: "OperationRequest") -> Iterator[str]:
    """Yield what is signed, parameters in the order in which their type declares them."""
    from msgspec import to_builtins  # noqa: PLC0415 -- heavy

    parameters = to_builtins(wanted.parameters_as())
    fields = (
        (_("Operation"), f"{summary_of(wanted.operation)} ({wanted.operation})"),
        (_("Site"), wanted.site),
        (_("Space"), wanted.space or _("the whole site")),
        *((f"  {_(path)}", _said(path, value)) for path, value in flat(parameters)),
        (_("Reason"), wanted.reason),
        (_("Asked for by"), wanted.requester),
        (_("Asked for at"), moment(wanted.issued)),
        (_("Open until"), moment(wanted.expires)),
        (_("Must approve"), needs_in_words(wanted.quorum)),
        (_("Request"), wanted.id),
    )
    for name, value in fields:
        yield f"{name}: {_indented(value)}"


def _said(path: str, value: Any) -> str:
    return moment(value) if path.rpartition(".")[2] in {"starts", "expires"} else str(value)


def _indented(text: str) -> str:
    """Return a text whose own line breaks cannot pass for a line of ours."""
    first, *rest = text.split("\n") if "\n" in text else [text]
    if not rest:
        return visible(text)
    return "".join(f"\n    | {visible(line)}" for line in (first, *rest))
