"""Makes the forwarding functions of the fault module from the installed PKCS#11 header.

Refuses a header whose function list and declarations do not agree.
"""

import re
from pathlib import Path

INCLUDE = Path("/usr/include/p11-kit-1")
HEADER = INCLUDE / "p11-kit" / "pkcs11.h"

_LIST = re.compile(r"struct ck_function_list\s*\{(.*?)\};", re.DOTALL)
_DECLARATION = re.compile(r"_CK_DECLARE_FUNCTION \((C_\w+),\s*\((.*?)\)\);", re.DOTALL)
_NOT_FORWARDED = {"C_GetFunctionList"}


def wrappers(header: str) -> str:
    """Return C source: a FORWARD() line for every function and PATCH_ALL for the list."""
    listed = _LIST.search(header)
    if listed is None:
        raise ValueError("no function list in the PKCS#11 header")
    declared = {name: " ".join(text.split()) for name, text in _DECLARATION.findall(header)}
    names = [n for n in re.findall(r"CK_(C_\w+) ", listed[1]) if n not in _NOT_FORWARDED]
    lines = [
        f"FORWARD({name}, ({declared[name]}), ({_arguments(declared[name])}))" for name in names
    ]
    patches = " ".join(f"PATCH({name})" for name in names)
    return "\n".join([*lines, f"#define PATCH_ALL {patches}", ""])


def _arguments(parameters: str) -> str:
    if parameters == "void":
        return ""
    return ", ".join(part.split()[-1].lstrip("*") for part in parameters.split(","))
