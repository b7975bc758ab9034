"""Who may ask what: the token, Host and Origin, the headers of every answer, and safe names.

The server listens on this machine, but pages of other sites in the same browser can send requests
to it too, and other users can connect. So each request needs the cookie, which the first address
sets by its token, and the Host and Origin of the studio itself (OWASP, "DNS rebinding", "CSRF").
"""

import hmac
import re
import secrets
import unicodedata
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from activity_cli.common.files import is_video
from activity_cli.errors import ActivityError

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_SAFE_METHODS = ("GET", "HEAD")
_MOST_NAME_BYTES = 150


class RequestError(ActivityError):
    """A request cannot be answered; `status` is that of HTTP."""

    def __init__(self, message: str, *, status: int = 400, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.values: Mapping[str, object] = {}
        """What the answer holds besides the message."""


class Guard:
    """Decides whether a request is let through.

    `host` is where the server listens; on another than this machine, only that name or address is
    accepted as Host.
    """

    def __init__(self, host: str, port: int) -> None:
        self.token = secrets.token_urlsafe(32)
        self._port = port
        self.cookie = f"activity_studio_{port}"
        names = {*_LOOPBACK, f"[{host}]" if ":" in host else host}
        self._hosts = {f"{name}:{port}" for name in names}

    def address(self, host: str) -> str:
        """Return the first address, with the token."""
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{self._port}/?token={self.token}"

    def check(self, method: str, headers: Mapping[str, str]) -> None:
        """Raise a RequestError unless a request comes from the studio's own page.

        `headers` have names in lower case.
        """
        self.check_host(headers)
        origin = headers.get("origin")
        is_own = origin == f"http://{headers['host']}"
        if origin is not None and not is_own:
            raise _refused("This request comes from another site.")
        if method not in _SAFE_METHODS and origin is None:
            raise _refused("This request does not state its origin.")
        if not self.has_cookie(headers):
            raise _refused("This address needs the token that `activity studio` printed.")

    def check_host(self, headers: Mapping[str, str]) -> None:
        """Raise a RequestError for a name that another site made to point to this machine."""
        if headers.get("host", "") not in self._hosts:
            raise _refused("The studio does not answer under this name.")

    def is_token(self, token: str) -> bool:
        """Return whether it is the token, in a time that does not depend on it."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    def has_cookie(self, headers: Mapping[str, str]) -> bool:
        """Return whether the cookie of this server is there."""
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return found is not None and self.is_token(found.value)


def _refused(message: str) -> RequestError:
    hint = "Open the address that `activity studio` printed in the terminal."
    return RequestError(message, status=403, hint=hint)


def safe_name(name: str) -> str:
    """Return a file name for an upload, without folders and odd characters.

    Raises:
        RequestError: it is not the name of a video.
    """
    plain = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    plain = re.sub(r"[^\w.() -]+", "_", plain).strip(" ._-")
    stem, suffix = Path(plain).stem, Path(plain).suffix
    while len(stem.encode()) > _MOST_NAME_BYTES:
        stem = stem[:-1]
    if not stem or not is_video(Path(plain)):
        raise RequestError(
            f"{name[:100]!r} does not have the name of a video.",
            hint="Add files that end in .mp4, .mov, .avi, .mkv, .webm or the like.",
        )
    return f"{stem}{suffix}"


def inside(root: Path, path: Path) -> bool:
    """Return whether a path, with all links followed, lies in a folder."""
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that cannot exist
        return False
