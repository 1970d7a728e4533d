"""What must not be kept of a request: cookies, credentials, and fields whose names say that they are secret.

The names of such values stay, so that one sees that there was one; the value becomes :data:`MASK`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "masked"
"""What stands where a secret was."""
SECRET = frozenset((
    "apikey", "assertion", "auth", "authorization", "credential", "credentials", "csrf", "csrfmiddlewaretoken", "jwt",
    "key", "otp", "pass", "passcode", "passphrase", "passwd", "password", "pin", "pwd", "secret", "session",
    "sessionid", "sid", "signature", "token", "xsrf",
))  # fmt: skip
"""Words of a name that make its value a secret: ``X-Api-Key`` and ``newPassword`` have one, ``author`` has none."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_PAIR = re.compile(r"([^&=?#]+)=([^&#]*)")
_COOKIE = re.compile(r"([^=;,\s]+)=([^;]*)")
_JSON = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:\s*)("(?:[^"\\]|\\.)*("|\Z)|-?\d[\d.eE+-]*)')
_PART = re.compile(r'(name="([^"]*)"(?:[^\r\n]*\r?\n)+?\r?\n)(.*?)(?=\r?\n--|\Z)', re.DOTALL)


class Secrets:
    """Which names are those of secrets: the ones with a word of :data:`SECRET`, and ``more`` whole names."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        self._more = {name.lower() for name in more}

    def __repr__(self) -> str:
        return f"<Secrets {sorted(self._more)}>"

    def is_secret(self, name: str) -> bool:
        """Is the value of this header, field or variable one?

        >>> secrets = Secrets(["X-Tenant"])
        >>> list(filter(secrets.is_secret, ("X-Api-Key", "newPassword", "author", "x-tenant", "CSRFToken")))
        ['X-Api-Key', 'newPassword', 'x-tenant', 'CSRFToken']
        """
        return name.lower() in self._more or any(word.lower() in SECRET for word in _WORD.findall(name))

    def header(self, name: str, value: str) -> str:
        """The value of a header, as it may be kept.

        >>> Secrets().header("Set-Cookie", "id=4711; Path=/; HttpOnly")
        'id=masked; Path=/; HttpOnly'
        >>> Secrets().header("Authorization", "Basic dXNlcjpwYXNz")
        'Basic masked'
        """
        lower = name.lower()
        if lower == "cookie":
            return _COOKIE.sub(rf"\1={MASK}", value)
        if lower == "set-cookie":
            return _COOKIE.sub(rf"\1={MASK}", value, count=1)
        if lower in ("referer", "location", "content-location"):
            return self.url(value)
        if not self.is_secret(name):
            return value
        scheme, space, _ = value.partition(" ")
        return f"{scheme} {MASK}" if space and "authorization" in lower else MASK

    def url(self, url: str) -> str:
        """A URL, or the content of a form, which is written like its query.

        >>> Secrets().url("/reset?user=me&token=abc#top")
        '/reset?user=me&token=masked#top'
        """
        return _PAIR.sub(lambda pair: f"{pair[1]}={self._keep(unquote_plus(pair[1]), pair[2])}", url)

    def body(self, text: str, media_type: str) -> str:
        """A body: forms and JSON have fields, of all else nothing is known."""
        if media_type == "application/x-www-form-urlencoded":
            return self.url(text)
        if media_type == "multipart/form-data":
            return _PART.sub(lambda part: part[1] + self._keep(part[2], part[3]), text)
        if media_type.endswith(("/json", "+json")):
            return _JSON.sub(lambda pair: f'"{pair[1]}"{pair[2]}{self._keep(pair[1], pair[3], quoted=True)}', text)
        return text

    def _keep(self, name: str, value: str, *, quoted: bool = False) -> str:
        if not self.is_secret(name):
            return value
        return f'"{MASK}"' if quoted else MASK
