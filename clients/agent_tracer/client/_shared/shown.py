"""Addresses as they may be shown: in logs, errors and what a program prints of its set-up."""

import re
from typing import Final

_USER: Final = re.compile(r"(?:^[^/\s]*|(?<=://)[^/?#]*)@")
_QUERY: Final = re.compile(r"(://[^\s?#]*[?#]|\S\?)\S+")
"""What follows the path; also where a library tells of the path alone. No name is kept: a key may stand there alone."""
_BEFORE_HOST: Final = re.compile(r"^(\w+://)?.*@", re.DOTALL)


def without_secrets(text: str) -> str:
    """The text with what may be secret in each address in it masked: user and password, query and fragment.

    Of an address without a scheme the user is only seen at the text's start.
    """
    return _QUERY.sub(r"\1***", _USER.sub("***@", text))


def wrong_address(text: str) -> str:
    """What was written for an address and is none: all before its last `@` is masked, for it may be a password."""
    return without_secrets(_BEFORE_HOST.sub(r"\1***@", text))
