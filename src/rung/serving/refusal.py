"""How the server says no: a status, and one sentence that names nothing of the machine."""

from __future__ import annotations

import json


class Refusal(Exception):
    """A request that is answered with an error.

    Args:
        status: of the HTTP answer, from 400 on.
        reason: one sentence for whoever sent the request: what is wrong and what to do.
        retry_after: seconds after which it may succeed, where it may.
        close: whether the connection ends with the answer, because the rest of the request will not be read.
    """

    def __init__(self, status: int, reason: str, *, retry_after: int | None = None, close: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
        self.close = close

    @property
    def headers(self) -> dict[str, str]:
        found = {"content-type": "application/json"}
        if self.retry_after is not None:
            found["retry-after"] = str(self.retry_after)
        if self.close:
            found["connection"] = "close"
        return found

    @property
    def body(self) -> bytes:
        return json.dumps({"error": self.reason}, ensure_ascii=False).encode("utf-8", "replace")


def busy(reason: str) -> Refusal:
    """503: too much is being asked at this moment."""
    return Refusal(503, f"{reason}; try again in a moment", retry_after=1)
