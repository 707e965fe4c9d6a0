"""Passwords where they should not be: recognised in a text, and taken out of one.

A text that may hold one is refused when the configuration is read, so that nobody who prints has
to think of it. What other programs say may repeat a secret that they were given; it is masked
where it comes in.
"""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from typing import Final
from urllib.parse import quote, quote_plus, unquote

MASK: Final = "***"

_DECODINGS: Final = 3
"""Times that a text is percent-decoded in search of credentials."""

_QUERY: Final = re.compile(
    r"[?&;#](?:[\w.-]{0,40}(?:passw|pwd|secret|token|credential|signature|api[_-]?key)[\w.-]{0,40}"
    r"|sig|key)\s{0,9}=",
    re.IGNORECASE,
)
_SHORT: Final = 8
"""Characters below which a secret is masked only as a word of its own: "any" is in "many"."""

_KEY_TEXT: Final = "-----BEGIN"
_BLANKS: Final = re.compile(r"(\s+)")


def readings(text: str) -> list[str]:
    """A text and what it is when its percent signs are decoded, full-width signs made plain."""
    found = [unicodedata.normalize("NFKC", text)]
    while len(found) <= _DECODINGS:
        decoded = unicodedata.normalize("NFKC", unquote(found[-1]))
        if decoded == found[-1]:
            break
        found.append(decoded)
    return found


def holds_credentials(text: str) -> bool:
    """Whether a text has a part that is, by its form, a password, a token or a private key.

    That is what stands in an address before an `@` and behind a `:`, in a query under a name such
    as `token`, and in a PEM file.
    """
    return any(
        _KEY_TEXT in each or _has_user_information(each) or _QUERY.search(each)
        for each in readings(text)
    )


def _has_user_information(text: str) -> bool:
    """`user:password@host`, with a scheme or without: a password may hold anything, line ends too.

    No regular expression: those that say the same take long for long texts.
    """
    begin, end = text.find(":"), text.rfind("@")
    return 0 <= begin < end and bool(text[begin:end].strip(":/ \t\r\n"))


def masked(text: str, secret: str = "", user: str = "") -> str:
    """What another program said, without the secret that it was given, in any form of it.

    Args:
        text: what it said, whole: half of a secret would not be recognised.
        secret: the secret; what addresses hold before an `@` is masked in any case, for the
            environment may name a proxy with a password.
        user: whose secret it is: HTTP sends both as one word.
    """
    forms = set()
    if secret:
        forms = {
            secret,
            quote(secret, errors="surrogatepass"),
            quote(secret, safe="", errors="surrogatepass"),
            quote_plus(secret, errors="surrogatepass"),
            repr(secret)[1:-1],
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            *(
                base64.b64encode(each.encode(errors="surrogatepass")).decode()
                for each in (secret, f"{user}:{secret}")
            ),
        }
    for form in sorted(forms, key=len, reverse=True):
        if len(form) >= _SHORT:
            text = text.replace(form, MASK)
        else:
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", MASK, text)
    return "".join(map(_address_masked, _BLANKS.split(text)))


def _address_masked(word: str) -> str:
    begin, end = word.find(":"), word.rfind("@")
    if not 0 <= begin < end:
        return word
    scheme = word[: begin + 3] if word.startswith("://", begin) else ""
    return scheme + MASK + word[end:]
