# SPDX-License-Identifier: Apache-2.0
"""The kernel's own traffic: a web server on the flooded host, and a client on the other one.

Each request makes a connection of its own, as curl would: handshake, request, answer and close all pass the flooded
interface. A request is due every 10 ms, whatever became of the last one, and its time counts from when it was *due*.
Otherwise a client that waits for a stalled server would measure one slow request where a hundred users had to wait.
A request that was not even made by the end counts with the time since it was due.
"""

from __future__ import annotations

import http.client
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from offramp.demo.actor import begin, listen, rest, say

if TYPE_CHECKING:
    from typing import TypedDict

    class Fetched(TypedDict):
        """What a client saw; milliseconds."""

        requests: int  # answered in time
        errors: int  # refused, reset, or without an answer for TIMEOUT
        due: int
        p50_ms: float
        p99_ms: float


__all__ = ["INTERVAL", "Fetched", "fetch"]

PORT = 80
PAGE = b"The kernel keeps the NIC.\n" * 40
INTERVAL = 0.01  # seconds between requests
TIMEOUT = 2.0  # seconds: two retransmissions of a lost SYN are not yet an error


class Page(BaseHTTPRequestHandler):
    """The server: one page, and no log."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(address: str) -> None:
    """Serves until it is killed."""
    with ThreadingHTTPServer((address, PORT), Page) as server:
        say(ready=True)
        server.serve_forever()


def fetch(address: str, seconds: float) -> Fetched:
    """Makes requests for `seconds`."""
    start = time.monotonic()
    due = [start + number * INTERVAL for number in range(int(seconds / INTERVAL))]
    end, answered, errors = start + seconds, 0, 0
    waited = []
    for moment in due:
        time.sleep(max(0.0, moment - time.monotonic()))
        if time.monotonic() < end:
            try:
                get(address)
                answered += 1
            except (OSError, http.client.HTTPException):
                errors += 1
        waited.append(time.monotonic() - moment)
    waited.sort()
    return {
        "requests": answered,
        "errors": errors,
        "due": len(due),
        "p50_ms": round(1e3 * waited[len(waited) // 2], 2),
        "p99_ms": round(1e3 * waited[len(waited) * 99 // 100], 2),
    }


def get(address: str) -> None:
    """One request. Errors: OSError, HTTPException, also when the page is not what was served."""
    connection = http.client.HTTPConnection(address, PORT, timeout=TIMEOUT)
    try:
        connection.request("GET", "/")
        if connection.getresponse().read() != PAGE:
            raise http.client.IncompleteRead(b"")
    finally:
        connection.close()


def main() -> None:
    orders = begin()
    if "seconds" not in orders:
        serve(**orders)
    get(orders["address"])  # the server is there, and everything is imported
    say(ready=True)
    listen()
    say(**fetch(**orders))
    rest()


if __name__ == "__main__":
    main()
