"""How large and how tangled a Cedar text may be. The parser descends once a bracket, an operator
or an ``if`` without looking at its stack, so whoever could hand in more could end the process.
"""

import re
from collections.abc import Iterator

from kms.errors import InvalidInput

MAX_TEXT = 64 << 10
"""Most bytes of a site's own policies."""
MAX_DEPTH = 32
"""How deep brackets nest."""
MAX_LINKS = 200
"""Most operators, brackets and clauses of one policy: whatever the parser makes a level of."""
MAX_ALL_LINKS = 4000
"""Most of them in a whole text."""
MAX_CHAIN = 8
"""Most names after one another in a.b.c: ``has`` grows with their square."""
MAX_NAME = 64
"""Most characters of a name: for one that it does not know the validator looks for the nearest."""

# As Cedar's own lexer: a remark ends at a carriage return too, and a number where a word begins.
_TOKEN = re.compile(
    r'"(?:\\.|[^"\\])*"|//[^\n\r]*|[A-Za-z_][A-Za-z0-9_]*|[0-9]+|&&|\|\||[=!<>]=|::|\S', re.ASCII
)
_LINKS = frozenset(
    {
        "&&", "||", "==", "!=", "<=", ">=", "<", ">", "=", "!", "+", "-", "*", "/", "%", ".", ":",
        "(", "[", "{", "if", "has", "in", "is", "like", "when", "unless",
    }
)  # fmt: skip
_OPENING, _CLOSING, _END, _DOT = frozenset("([{"), frozenset(")]}"), ";", "."


def check_bounds(text: str, source: str) -> None:
    """Raise InvalidInput, which names the source, for a text that the parser must not be given."""
    if len(text.encode("utf-8", "replace")) > MAX_TEXT:
        raise InvalidInput(f"{source}: policies have at most {MAX_TEXT} bytes")
    tokens = list(_tokens(text))
    if any(len(token) > MAX_NAME for token in tokens):
        raise InvalidInput(f"{source}: a name has more than {MAX_NAME} characters")
    _check_depth(tokens, source)
    _check_links(tokens, source)
    _check_chains(tokens, source)


def _tokens(text: str) -> Iterator[str]:
    """Yield what stands outside of strings and remarks."""
    for found in _TOKEN.finditer(text):
        token = found[0]
        if not token.startswith("//"):
            yield '"' if token[0] == '"' else token


def _check_depth(tokens: list[str], source: str) -> None:
    depth = 0
    for token in tokens:
        if token in _OPENING:
            depth += 1
        elif token in _CLOSING:
            depth = max(0, depth - 1)
        if depth > MAX_DEPTH:
            raise InvalidInput(f"{source}: brackets nest deeper than {MAX_DEPTH}")


def _check_links(tokens: list[str], source: str) -> None:
    own = every = 0
    for token in tokens:
        own = 0 if token == _END else own + (token in _LINKS)
        every += token in _LINKS
        if own > MAX_LINKS:
            raise InvalidInput(
                f"{source}: a condition is too long: more than {MAX_LINKS} operators and brackets",
                hint="write several policies, or a set",
            )
    if every > MAX_ALL_LINKS:
        raise InvalidInput(
            f"{source}: the policies have more than {MAX_ALL_LINKS} operators and brackets"
        )


def _check_chains(tokens: list[str], source: str) -> None:
    """Names and dots take turns in a chain; anything else ends it."""
    dots, was_dot = 0, False
    for token in tokens:
        if token == _DOT:
            dots += 1
        elif not was_dot:
            dots = 0
        was_dot = token == _DOT
        if dots > MAX_CHAIN:
            raise InvalidInput(f"{source}: more than {MAX_CHAIN} names in a chain such as a.b.c")
