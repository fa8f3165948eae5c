"""Addresses as they may be shown: in logs, errors and what a program prints of its set-up."""

import re
from typing import Final

_USER: Final = re.compile(r"(?:^|(?<=://))[^/\s]*@")


def without_user(text: str) -> str:
    """The text with user and password of each address in it masked; an address without a scheme only at its start."""
    return _USER.sub("***@", text)
