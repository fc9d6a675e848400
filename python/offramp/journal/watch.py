# SPDX-License-Identifier: Apache-2.0
"""The guardian: waits for another process to end, and undoes what its journals still list.

    python -I -S watch.py DIRECTORY_OF_OFFRAMP SOCKET PIDFD

    on SOCKET    "watch PATH_OF_JOURNAL" with a network namespace; "done PATH_OF_JOURNAL"; closed: no more will come
    on PIDFD     the process has ended; children of it may still run
    SIGTERM      undo at once: a service manager is ending the whole control group, and SIGKILL is next

It has its own session and process group, and no descriptors except these two and stderr. So it gets no signals of a
terminal, and does not hold the process's sockets, maps and programs. All modules are loaded before it says "ready":
when it counts, it needs almost no memory and disk. Like everybody, it changes an interface only with its lock. If it is
killed itself, the journals are still there: `offramp restore`. Source: pidfd_open(2), unix(7) (SCM_RIGHTS), signal(7).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress

_MESSAGE = 8192
_PATIENCE, _TURN = 10.0, 0.05  # for another process that has the interface; seconds
_NAME = "offramp-guard"


def main() -> None:
    packages, line, process = sys.argv[1:]
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(ignored, signal.SIG_IGN)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGTERM, lambda number, frame: None)  # the pipe tells us
    with suppress(OSError), open("/proc/self/comm", "w") as comm:
        comm.write(_NAME)
    sys.path.append(packages)
    from offramp.journal import recover  # now, not when it counts
    from offramp.journal.store import Store

    told = socket.socket(fileno=int(line))
    with suppress(OSError):  # it was killed meanwhile, so there is nothing to watch
        told.send(b"ready")
    for journal, namespace in reversed(wait(told, int(process), woken).items()):  # the newest first
        undo(int(process), journal, namespace)
    recover.sweep(Store())


def wait(told: socket.socket, process: int, woken: int) -> dict[str, int]:
    """Wait until it is time. Returns the journals to undo; none if all are done."""
    watched: dict[str, int] = {}
    poll = select.poll()
    for source in (told.fileno(), process, woken):
        poll.register(source, select.POLLIN)
    while True:
        ready = {source for source, _ in poll.poll()}
        if told.fileno() not in ready:  # it is emptied first: the process may have said something before it ended
            return watched
        try:
            message, namespaces, _, _ = socket.recv_fds(told, _MESSAGE, 1)
        except ConnectionError:
            message, namespaces = b"", []
        verb, _, journal = message.decode().partition(" ")
        if verb == "watch":
            _close(watched.get(journal))
            watched[journal] = namespaces[0]
        elif verb == "done":
            _close(watched.pop(journal, None))
        elif not watched:
            return {}
        else:  # the process has closed its end of the socket but still has its changes: keep waiting for it
            poll.unregister(told.fileno())


def undo(process: int, path: str, namespace: int) -> None:
    """Undo one journal, and print the result. If another process has the interface by now, that one undoes it."""
    from offramp.errors import OfframpError
    from offramp.journal.recover import give_back_for
    from offramp.journal.store import Store

    directory, name = os.path.split(path)
    deadline = time.monotonic() + _PATIENCE
    try:
        report = give_back_for(_pid(process), name, namespace, Store(directory))
        while report is not None and report.state == "in use" and time.monotonic() < deadline:
            time.sleep(_TURN)
            report = give_back_for(_pid(process), name, namespace, Store(directory))
        said = str(report or "")
    except OfframpError as error:
        said = str(error)
    with suppress(OSError):
        print(f"offramp: its process has ended: {said}" if said else "", end="\n" if said else "", file=sys.stderr)


def _pid(process: int) -> int:
    """The number of the process, while it lives; -1 after that, as another one may have its number then."""
    from offramp.syscalls.procfs import content

    lines = content(f"/proc/self/fdinfo/{process}").split("\n")
    return next(int(line.removeprefix("Pid:")) for line in lines if line.startswith("Pid:"))


def _close(namespace: int | None) -> None:
    if namespace is not None:
        os.close(namespace)


if __name__ == "__main__":
    main()
    os._exit(0)  # at once, because somebody may be waiting for it
