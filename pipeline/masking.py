"""Secrets in addresses: variables stay names until a file is opened, and what is shown has none.

A user and password before the host, a signature or token in a query, the value of a variable that
an address names: none of these is written into a manifest, a log, a result, a page or the screen.
"""

import os
import re
import sys
import traceback

MASK = "***"
# Parameters of a query that say which file is meant, or how to send it. The value of any other one
# may be a secret (X-Amz-Signature, sig, token, access_key …), and new names of those come up.
HARMLESS = frozenset(
    (
        *("alt", "dl", "download", "export", "file", "filename", "format", "id", "name", "path"),
        *("raw", "record", "ref", "revision", "version", "versionId"),
    )
)
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)
USER = re.compile(
    r"(://)(?:[^\s/?#]*@"  # what the standard calls user information: up to the last @ of the host
    r"|(?!\[)[^\s/?#:@]*:(?!:|\d*(?:[/?#\s]|$))[^\s]*@)"  # a password with a stroke in it
)
QUERY = re.compile(r"(://[^\s?#]*)([?#]\S*)")
PARAMETER = re.compile(r"([?&;#]|^)([^=&;?#]*)(=?)([^&;#]*)")
ENDS = ".,:;)]}>'\"…"  # of a sentence around an address
SECRET_NAME = re.compile(
    r"TOKEN(?!I)|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|SIGNATURE|API_?KEY|ACCESS_?KEY",
    re.IGNORECASE,
)
LEAST_LETTERS = 8  # of a variable's value that is looked for in any text


class UnsetVariableError(ValueError):
    """An address names a variable that is not set."""

    outcome = "usage"


def variables(address: str) -> list[str]:
    """Return the names of the variables in `address`, in their order."""
    return [first or second for first, second in VARIABLE.findall(address)]


def expanded(address: str) -> str:
    """Return `address` with the values of its variables, to open it; never to show it.

    Raises:
        UnsetVariableError: One is not set.
    """
    for name in variables(address):
        if name not in os.environ:
            message = (
                f"the variable ${name} is not set here. Export it before `cosmotron run`: jobs get "
                "the environment that they are submitted in; those in an image, the variables of "
                f'the site, such as {name} = "${name}" in [environment.always]. A $ of the address '
                "itself is written %24"
            )
            raise UnsetVariableError(message)
    return os.path.expandvars(address)


def unexpanded(text: str, address: str) -> str:
    """Return `text` with the names of the variables of `address` in place of their values."""
    for name in variables(address):
        value = os.environ.get(name, "")
        text = text.replace(value, f"${name}") if value else text
    return text


def masked(text: str) -> str:
    """Return `text` with every secret in its addresses masked; twice changes nothing more.

    The value of an environment variable whose name says that it is secret is masked anywhere.
    """
    text = QUERY.sub(_masked_query, USER.sub(rf"\1{MASK}@", text))
    for name, value in os.environ.items():
        if len(value) >= LEAST_LETTERS and SECRET_NAME.search(name):
            text = text.replace(value, f"${name}")
    return text


def _masked_query(found: re.Match[str]) -> str:
    """Return an address whose query has no values but harmless ones."""
    before, query = found.groups()
    end = len(query.rstrip(ENDS))
    return before + PARAMETER.sub(_masked_value, query[:end]) + query[end:]


def _masked_value(found: re.Match[str]) -> str:
    """Return a parameter with its value masked, unless that is harmless or a variable's name."""
    mark, name, equals, value = found.groups()
    if not equals:
        return f"{mark}{name if not name or VARIABLE.fullmatch(name) else MASK}"
    keeps = name in HARMLESS or not value or VARIABLE.fullmatch(value)
    return f"{mark}{name}={value if keeps else MASK}"


def has_secret(text: str) -> bool:
    """Whether masking would change the text."""
    return masked(text) != text


def print_traceback(error: BaseException) -> None:
    """Print the traceback of `error` to stderr, masked."""
    sys.stderr.write(masked("".join(traceback.format_exception(error))))
