# SPDX-License-Identifier: Apache-2.0
"""The kernel keeps the NIC: real programs keep working on an interface while a ramp claims a flood there."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import offramp
from offramp import DROP
from offramp.errors import Closed
from offramp.gen.packets import eth, ip, udp
from offramp.ramp.ramp import Ramp
from offramp.testing import Flood, Host, Lab, Wire
from tests.rigs.waiting import eventually

pytestmark = pytest.mark.speed  # of servers and their clients

FLOODED, DNS, HTTP, SSH = 4321, 53, 80, 22
PAGE = "the kernel's own\n" * 2000  # more than one segment
FETCHES, QUERIES, PINGS = 30, 200, 50

NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen {port}; listen [::]:{port}; root {folder}/pages; }}
}}
"""


@pytest.fixture
def wire(lab: Lab) -> Wire:
    """On which neighbours have to be found."""
    return lab.wire(lab.host("a"), lab.host("b"))


@pytest.fixture(params=["claimed", "dropped in the driver"])
def flooded(wire: Wire, request: pytest.FixtureRequest) -> Iterator[Wire]:
    """The wire with a flood on it that never gets to the kernel of host b."""
    match = f"udp dst port {FLOODED}"
    with ExitStack() as stack:
        with wire.b.host:
            if request.param == "claimed":
                ramp = stack.enter_context(offramp.open(wire.b.name, match, stall=None))
                reader = threading.Thread(target=discard, args=(ramp,))
                stack.callback(reader.join)
                stack.callback(ramp.close)  # which ends the reader
                reader.start()
            else:
                ramp = stack.enter_context(offramp.attach(wire.b.name, match, DROP))  # type: ignore[assignment]
        datagram = udp(sport=1, dport=FLOODED, payload=bytes(18))
        template = eth(ip(datagram, src="198.18.0.1", dst=wire.b.ip), dst=wire.b.mac)
        # A rate that leaves time for the neighbours also where there is one CPU for all.
        source = stack.enter_context(Flood(wire.a, template, rate=100_000, seconds=100))
        assert eventually(lambda: ramp.ledger().claimed > 10_000)
        yield wire
        before = ramp.ledger()
        assert eventually(lambda: ramp.ledger().claimed > before.claimed)  # it has not stopped meanwhile
        assert source.running


def discard(ramp: Ramp) -> None:
    try:
        for batch in ramp:
            del batch
    except Closed:
        pass


def serve_pages(host: Host, folder: Path) -> None:
    """nginx; it says nothing when it is ready, so that it is asked."""
    if shutil.which("nginx") is None:
        pytest.skip("needs nginx")
    (folder / "pages").mkdir()
    (folder / "pages" / "page").write_text(PAGE)
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, port=HTTP))
    host.popen(["nginx", "-p", str(folder), "-c", str(configuration)], stderr=subprocess.DEVNULL)
    assert eventually(lambda: accepts(host, HTTP))


def accepts(host: Host, port: int) -> bool:
    with host, socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_web_client_and_server(flooded: Wire, tmp_path: Path) -> None:
    serve_pages(flooded.b.host, tmp_path)
    addresses = (flooded.b.ip, f"[{flooded.b.ip6}]")
    for number in range(FETCHES):
        url = f"http://{addresses[number % 2]}:{HTTP}/page"
        page = flooded.a.host.run(["curl", "--silent", "--show-error", "--fail", "--max-time", "10", url])
        assert page.stdout == PAGE


def test_pings(flooded: Wire) -> None:
    """Echo requests of our own, so that no ping program is needed: every one is answered."""
    with flooded.a.host, socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as client:
        client.settimeout(10)
        client.connect((flooded.b.ip, 0))
        for number in range(PINGS):
            header = (
                bytes((8, 0)) + (~(0x0800 + 7 + number) & 0xFFFF).to_bytes(2) + (7).to_bytes(2) + number.to_bytes(2)
            )
            client.send(header)
            while (answer := client.recv(100)[20:])[0] != 0 or answer[6:8] != header[6:8]:
                pass


def test_queries_to_another_port(flooded: Wire) -> None:
    """Questions and answers as of DNS, by UDP."""
    with flooded.b.host:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, flooded.a.host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        server.bind((flooded.b.ip, DNS))
        client.connect((flooded.b.ip, DNS))
        for end in (server, client):
            end.settimeout(10)
        for number in range(QUERIES):
            question = b"question %d" % number
            client.send(question)
            asked, who = server.recvfrom(100)
            server.sendto(asked.replace(b"question", b"answer"), who)
            assert client.recv(100) == b"answer %d" % number


def test_an_ssh_session_from_before(lab: Lab, wire: Wire) -> None:
    """A connection to a port that the match takes, made before, goes on: live sessions are protected."""
    with wire.b.host:
        server = socket.create_server((wire.b.ip, SSH))
    with wire.a.host:
        client = socket.create_connection((wire.b.ip, SSH), timeout=10)
    with server, client:
        session, _ = server.accept()
        session.settimeout(10)
        with session:
            with wire.b.host:
                ramp = offramp.open(wire.b.name, "", stall=None)
            with ramp:
                for number in range(100):
                    client.sendall(b"line %03d\n" % number)
                    assert session.recv(9) == b"line %03d\n" % number
                    session.sendall(b"ok\n")
                    assert client.recv(3) == b"ok\n"
                assert ramp.ledger().protected >= 100


def test_tcpdump_sees_what_the_kernel_gets_and_nothing_else(flooded: Wire) -> None:
    if shutil.which("tcpdump") is None:
        pytest.skip("needs tcpdump")
    command = ["tcpdump", "-i", flooded.b.name, "-n", "-l", "--immediate-mode", "-Q", "in", "udp"]
    dump = flooded.b.host.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert dump.stderr is not None
    assert dump.stdout is not None
    while "listening on" not in dump.stderr.readline():
        assert dump.poll() is None
    with flooded.a.host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(20):
            client.sendto(b"seen", (flooded.b.ip, DNS))
            time.sleep(0.01)
    lines = [dump.stdout.readline() for _ in range(20)]
    dump.terminate()
    rest, _ = dump.communicate(timeout=10)
    assert all(f"{flooded.b.ip}.{DNS}:" in line for line in lines)
    assert rest.strip() == ""


def test_ssh_that_begins_later_is_protected_in_both_directions(lab: Lab) -> None:
    """Not only what was there when the ramp was opened: a server that starts now, and a session from here."""
    a, b = lab.host("a"), lab.host("b")
    wire = lab.wire(a, b)
    with b:
        ramp = offramp.open(wire.b.name, "tcp", stall=None)
    with ramp:
        for server, client, address in ((b, a, wire.b.ip), (a, b, wire.a.ip), (a, b, wire.a.ip6)):
            with server:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                listener = socket.create_server((address, SSH), family=family)
            with listener:
                with client:
                    connection = socket.create_connection((address, SSH), timeout=10)
                accepted, _ = listener.accept()
                with connection, accepted:
                    for sender, receiver in ((connection, accepted), (accepted, connection)):
                        receiver.settimeout(10)
                        sender.sendall(b"SSH-2.0-")
                        assert receiver.recv(100) == b"SSH-2.0-"
        assert ramp.rx(timeout=0) is None
