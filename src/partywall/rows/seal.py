"""The sealed tenant: a token that the database can check and that SQL cannot make."""

from __future__ import annotations

import hashlib
import hmac

__all__ = ["seal"]


def seal(encoded: str, pid: int, key: bytes, expires: int) -> str:
    """
    Return the token for one tenant in one server process.

    Args:
        encoded: The tenant id, as `encode` returns it.
        pid: Of the server process; in another one the token is worth nothing.
        key: The wall's.
        expires: When it ends, in seconds since 1970 by the server's clock.

    Returns:
        ``"<encoded>.<pid>.<expires>.<hex HMAC-SHA-256 of all before>"``
    """
    message = f"{encoded}.{pid:d}.{expires:d}"
    return f"{message}.{hmac.new(key, message.encode('ascii'), hashlib.sha256).hexdigest()}"
