# SPDX-License-Identifier: Apache-2.0
"""A virtual host: an anonymous network namespace, and one thread that lives in it.

A namespace of `ip netns` has a name in /run/netns, which a crash leaves behind. These have none. A thread unshares
(`unshare(2)`), and only the thread and one file descriptor keep the namespace alive. When the process ends, for
whatever reason, the kernel removes the namespace, and with it the interfaces inside.

    this process                    namespace "a" (network, mounts)
    ├── your threads  ── with a: ──►  sockets, netlink, offramp.open()
    └── a's thread    ── always ──►   a.call(f), a.run([...]), a.popen([...])

The thread also has a mount namespace in which /sys shows the host's own interfaces, as with `ip netns exec`.
Processes are started from that thread and die with it (PR_SET_PDEATHSIG), so a crash leaves no process either.

Sources: namespaces(7), network_namespaces(7), setns(2), unshare(2), sysfs(5), PR_SET_PDEATHSIG(2const).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from offramp.errors import Closed, OptionError
from offramp.syscalls import netns

__all__ = ["Host"]

P = ParamSpec("P")
T = TypeVar("T")


_entered = threading.local()  # .stack: the namespaces that this thread goes back to, the innermost last


class Host:
    """One virtual host of a `Lab`; made by `Lab.host`.

    `with host:` moves only the calling thread into the host's network namespace. Sockets opened inside belong to the
    host for good. It nests, and restores the previous namespace on exit.

    Privileges: CAP_SYS_ADMIN (namespaces, mounts), CAP_NET_ADMIN.  Errors: PrivilegeError, KernelError.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._processes: list[subprocess.Popen[Any]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"host-{name}")
        try:
            self._netns = self.call(netns.enter_new)
        except BaseException:
            self._thread.shutdown()
            raise
        self._closed = False

    def __repr__(self) -> str:
        return f"Host({self.name!r})"

    def fileno(self) -> int:
        """The file descriptor of the network namespace, for setns(2) or netlink's net_ns_fd; valid until close()."""
        if self._closed:
            raise Closed(f"host {self.name} was closed")
        return self._netns

    # -- in the namespace ------------------------------------------------------------------------------------------

    def __enter__(self) -> Host:
        previous = netns.namespace()
        try:
            netns.enter(self.fileno())
        except BaseException:
            os.close(previous)
            raise
        _stack().append(previous)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        previous = _stack().pop()
        try:
            netns.enter(previous)
        finally:
            os.close(previous)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `function` on the host's own thread. Returns its result, or raises its exception."""
        return self._thread.submit(function, *args, **kwargs).result()

    @contextlib.contextmanager
    def netlink(self) -> Iterator[Any]:
        """A pyroute2.IPRoute of this host, to be used by the calling thread only."""
        from pyroute2 import IPRoute

        with self, IPRoute() as route:
            yield route

    def sysctl(self, name: str, value: int | str) -> None:
        """Sets a per-namespace sysctl, e.g. `host.sysctl("net.ipv4.ip_forward", 1)`."""
        path = Path("/proc/sys", *name.split("."))
        self.call(path.write_text, str(value))

    # -- processes -------------------------------------------------------------------------------------------------

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Starts a process on this host; takes the options of subprocess.Popen.

        It gets SIGKILL when this process dies, so keep servers in the foreground: a daemon would escape that. When the
        lab closes, all processes in the host's namespace end.
        """
        program = shutil.which(argv[0])
        if program is None:
            raise OptionError(f"cannot run {argv[0]} on host {self.name}", reason="no such program in PATH")
        command = ["setpriv", "--pdeathsig", "KILL", "--", program, *argv[1:]]
        process: subprocess.Popen[Any] = self.call(lambda: subprocess.Popen(command, start_new_session=True, **options))
        self._processes.append(process)
        return process

    def run(
        self, argv: Sequence[str], *, check: bool = True, timeout: float | None = 30.0, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program on this host to its end, bounded by `timeout` seconds; output is captured as text.

        Errors: subprocess.CalledProcessError (with what the program wrote to stderr), subprocess.TimeoutExpired.
        """
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        process = self.popen(
            argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="surrogateescape"
        )
        try:
            out, err = process.communicate(input, timeout)
        finally:
            self.kill(process)
        result = subprocess.CompletedProcess(list(argv), process.returncode, out, err)
        if check and process.returncode:
            error = subprocess.CalledProcessError(process.returncode, list(argv), out, err)
            error.add_note(f"on host {self.name}: {err.strip()}")
            raise error
        return result

    def kill(self, process: subprocess.Popen[Any]) -> None:
        """Ends a process of `popen` with its process group, if it has not ended, and closes its pipes."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # a session of its own, not yet reaped: nobody else has its number
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        if process in self._processes:
            self._processes.remove(process)

    def close(self) -> None:
        """Ends the processes in the host's namespace and releases it. Sockets that are still open keep it alive."""
        if self._closed:
            return
        self._closed = True
        for process in reversed(self._processes.copy()):
            self.kill(process)
        _kill_inhabitants(self._netns)
        self._thread.shutdown()
        os.close(self._netns)


def _kill_inhabitants(namespace: int) -> None:
    """Ends the other processes in the namespace: those that our processes have left running."""
    home = os.fstat(namespace)
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended just now
            if entry.name == str(os.getpid()) or not os.path.samestat(os.stat(entry / "ns/net"), home):
                continue
            pidfd = os.pidfd_open(int(entry.name))
            try:
                if os.path.samestat(os.stat(entry / "ns/net"), home):  # still that process, not another with its number
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)


def _stack() -> list[int]:
    if not hasattr(_entered, "stack"):
        _entered.stack = []
    stack: list[int] = _entered.stack
    return stack
