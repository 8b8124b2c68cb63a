"""Shows a request for approval in plain words, read from what was signed and nothing else."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kms.cli.output import Output, moment, word
from kms.domain.approvals import RULES
from kms.domain.text import visible
from kms.errors import VerificationFailed
from kms.i18n import Language, _, language

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


def summary_of(operation: str) -> str:
    """Return what an operation does, in the present language."""
    rule = RULES.get(operation)
    if rule is None:
        return operation
    return rule.summary_en if language() is Language.EN else rule.summary_zh


def needs_in_words(needs: Iterable[Any]) -> str:
    """Return who must approve, or is missing."""
    return "; ".join(map(_need, needs)) or "-"


def _need(need: Any) -> str:
    if need.space:
        text = _("{count} of group {group} for {space}")
        return text.format(count=need.count, group=need.group, space=need.space)
    return _("{count} of group {group}").format(count=need.count, group=need.group)


def request_document(found: "RequestOut") -> dict[str, Any]:
    """Return a request as JSON, its digest also as people see it when they sign."""
    from kms.statements.canonical import unb64u  # noqa: PLC0415 -- heavy

    return {**found.model_dump(mode="json"), "digest_hex": unb64u(found.digest).hex()}


def request_row(found: "RequestOut") -> dict[str, Any]:
    """Return a request's fields in the present language."""
    ready = _("approved, can be carried out")
    return {
        **request_document(found),
        "lacking": needs_in_words(found.missing),
        "standing": ready if found.ready else word(found.state.value),
    }


def _lines(wanted: "OperationRequest") -> Iterator[str]:
    """Yield what is signed, parameters in the order in which their type declares them."""
    from msgspec import to_builtins  # noqa: PLC0415 -- heavy

    fields = (
        (_("Operation"), f"{summary_of(wanted.operation)} ({wanted.operation})"),
        (_("Site"), wanted.site),
        (_("Space"), wanted.space or _("the whole site")),
        *((f"  {_(name)}", text) for name, text in _flat(to_builtins(wanted.parameters_as()))),
        (_("Reason"), wanted.reason),
        (_("Asked for by"), wanted.requester),
        (_("Asked for at"), moment(wanted.issued)),
        (_("Open until"), moment(wanted.expires)),
        (_("Must approve"), needs_in_words(wanted.quorum)),
        (_("Request"), wanted.id),
    )
    for name, value in fields:
        yield f"{name}: {_indented(value)}"


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every parameter with its path, such as ``policy.rotation.interval_seconds``."""
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{path}{name}.")
        elif isinstance(item, list | tuple):
            yield f"{path}{name}", str(len(item))
            for number, one in enumerate(item, 1):
                yield from _flat({str(number): one}, f"{path}{name}.")
        elif name in {"starts", "expires"}:
            yield f"{path}{name}", moment(item)
        else:
            yield f"{path}{name}", str(item)


def _indented(text: str) -> str:
    """Return a text whose own line breaks cannot pass for a line of ours."""
    first, *rest = text.split("\n") if "\n" in text else [text]
    if not rest:
        return visible(text)
    return "".join(f"\n    | {visible(line)}" for line in (first, *rest))
