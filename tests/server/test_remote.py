"""Addresses of pictures: real servers on this machine, and names that lead astray."""

import asyncio
import base64
import io
import shutil
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from server import remote
from server.options import Options
from server.remote import BadAddress, LocalAddress, Network, RequestsForbidden
from server.schemas.img2img import Img2ImgRequest
from server.schemas.txt2img import Txt2ImgRequest

GUARDED = Options.defaults()
OPEN = replace(GUARDED, api_forbid_local_requests=False)


def png(level: int = 90) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (level, 0, 0)).save(file, "PNG")
    return file.getvalue()


@dataclass
class Site:
    """A web server on this machine: what it answers to a path, and what it was asked."""

    port: int
    pages: dict[str, Callable[[BaseHTTPRequestHandler], None]]
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def at(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


def page(
    status: int, body: bytes = b"", **headers: str
) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(png() + bytes(2**16))


def slow(handler: BaseHTTPRequestHandler) -> None:
    for letter in b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + bytes(9000):
        handler.wfile.write(bytes([letter]))
        time.sleep(0.05)


@pytest.fixture
def site() -> Iterator[Site]:
    yield from serve()


def serve(tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    made = Site(port=0, pages={})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append((self.path, self.headers["Host"], self.headers["User-Agent"]))
            made.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            try:
                made.pages[self.path](self) if self.path in made.pages else self.send_error(404)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        do_POST = do_GET  # noqa: N815 -- the base class names it

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that hangs up is what is tested."""

    server: socketserver.TCPServer = Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    made.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


def names(**hosts: str | Sequence[str]) -> Network:
    """A network where these names lead to these addresses; a list gives one a call, in turn."""
    left = {host: [each] if isinstance(each, str) else list(each) for host, each in hosts.items()}

    async def resolve(host: str, port: int) -> Sequence[str]:
        if host == "127.0.0.1":
            return [host]
        given = left[host.partition(".")[0]]
        return [given.pop(0) if len(given) > 1 else given[0]]

    return Network(resolve=resolve)


async def test_a_picture_is_fetched_as_it_is(site: Site) -> None:
    site.pages["/x.png"] = page(200, png())
    options = replace(OPEN, api_useragent="Darkroom é\r\nX: y")
    assert await remote.fetch(site.at("/x.png"), options) == png()
    assert site.asked[-1] == ("/x.png", f"127.0.0.1:{site.port}", "Darkroom X: y")


async def test_our_own_network_is_not_called(site: Site) -> None:
    site.pages["/x.png"] = page(200, png())
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "0.0.0.0", "[::1]"):
        with pytest.raises(LocalAddress):
            await remote.fetch(site.at("/x.png", host), GUARDED)
    assert not site.asked


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "169.254.169.254",
        "100.64.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a00:1::",
        "fc00::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
    ],
)
async def test_what_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(LocalAddress):
        await remote.check_address("http://a/", GUARDED, names(a=address))


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
async def test_what_is_public_is_not(address: str) -> None:
    target = await remote.check_address("https://a:8443/x", GUARDED, names(a=address))
    assert len(target.addresses) == 1
    assert str(target.url) == "https://a:8443/x"


async def test_one_address_of_ours_among_public_ones_is_enough() -> None:
    async def both(host: str, port: int) -> Sequence[str]:
        return ["93.184.216.34", "127.0.0.1"]

    with pytest.raises(LocalAddress):
        await remote.check_address("http://a/", GUARDED, Network(resolve=both))


async def test_a_name_that_changes_its_mind_is_held_to_its_word(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages["/x.png"] = page(200, png())
    monkeypatch.setattr(remote, "_CONNECT_S", 0.2)
    # public when it is checked, ours at any later look: there is no later look
    network = names(rebind=["192.0.2.1", "127.0.0.1"])
    monkeypatch.setattr(remote, "_public", lambda address: str(address) == "192.0.2.1")
    with pytest.raises(BadAddress, match="cannot be reached"):
        await remote.fetch(site.at("/x.png", "rebind"), GUARDED, network=network)
    assert not site.asked


async def test_the_connection_goes_to_the_checked_address_under_the_asked_name(site: Site) -> None:
    site.pages["/x.png"] = page(200, png())
    network = names(pictures="127.0.0.1")
    data = await remote.fetch(site.at("/x.png", "pictures.example"), OPEN, network=network)
    assert data == png()
    assert site.asked[0][1] == f"pictures.example:{site.port}"


async def test_the_next_address_is_tried(site: Site) -> None:
    site.pages["/x.png"] = page(200, png())

    async def two(host: str, port: int) -> Sequence[str]:
        return ["::1", "127.0.0.1"]

    network = Network(resolve=two)
    assert await remote.fetch(site.at("/x.png", "a"), OPEN, network=network) == png()


async def test_redirects_are_followed_where_each_may_go(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages["/a"] = page(302, Location="/b")
    site.pages["/b"] = page(307, Location=f"//pictures.example:{site.port}/x.png")
    site.pages["/x.png"] = page(200, png())
    site.pages["/home"] = page(301, Location=site.at("/x.png"))
    site.pages["/file"] = page(301, Location="file:///etc/passwd")
    site.pages["/nowhere"] = page(301)
    site.pages["/round"] = page(302, Location="/round")
    network = names(pictures="127.0.0.1", public="127.0.0.1", home="127.0.0.1")
    assert await remote.fetch(site.at("/a", "public"), OPEN, network=network) == png()
    for path in ("/file", "/nowhere", "/round"):
        with pytest.raises(BadAddress):
            await remote.fetch(site.at(path), OPEN, network=network)
    assert len([path for path, *_ in site.asked if path == "/round"]) == 6

    # this machine passes for public under one name, and not when a redirect names it openly
    passes = iter([True, False])
    monkeypatch.setattr(remote, "_public", lambda _: next(passes))
    with pytest.raises(LocalAddress):
        await remote.fetch(site.at("/home", "public"), GUARDED, network=network)


async def test_what_is_endless_or_slow_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.pages["/endless"] = endless
    site.pages["/told"] = page(200, b"x", Content_Length="5000000000")
    site.pages["/slow"] = slow
    with pytest.raises(BadAddress, match="more than 100000 bytes"):
        await remote.fetch(site.at("/endless"), OPEN, 100_000)
    with pytest.raises(BadAddress, match="5000000000 bytes; allowed are 67108864"):
        await remote.fetch(site.at("/told"), OPEN)
    monkeypatch.setattr(remote, "TIMEOUT_S", 0.3)
    start = time.monotonic()
    with pytest.raises(BadAddress, match=r"took more than 0\.3 s"):
        await remote.fetch(site.at("/slow"), OPEN)
    assert time.monotonic() - start < 3


async def test_a_name_that_nobody_answers_for_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(remote, "_CONNECT_S", 0.1)
    with pytest.raises(BadAddress, match="cannot be resolved"):
        await remote.check_address("http://a/", GUARDED, Network(resolve=silent))


async def test_what_is_no_picture_is_refused(site: Site) -> None:
    site.pages["/page"] = page(200, b"<html></html>")
    site.pages["/broken"] = page(500, png())
    site.pages["/cut"] = page(200, png()[:20])
    site.pages["/packed"] = page(200, b"\x1f\x8b" + bytes(100), Content_Encoding="gzip")
    site.pages["/short"] = page(200, png(), Content_Length="9999")
    for path in ("/page", "/broken", "/cut", "/packed", "/none"):
        with pytest.raises(BadAddress):
            await remote.picture(site.at(path), OPEN)


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///x",
        "http://good@127.0.0.1/",
        "http://good\\@127.0.0.1/",
        "http://a:99999/",
        "http://a:0/",
        "http://a\r\nHost: b/",
        "http://a/\x00",
        "http://[::1/",
        "ftp://a/",
        "file:///etc/passwd",
        "gopher://a/",
        "http://" + "a" * 9000,
        "http://" + "é" * 300,
        "http://xn--a/",
    ],
)
async def test_odd_addresses_are_refused(url: str) -> None:
    with pytest.raises((BadAddress, LocalAddress)):
        await remote.fetch(url, GUARDED)


async def test_a_name_that_is_percent_encoded_leads_nowhere(site: Site) -> None:
    with pytest.raises((BadAddress, LocalAddress)):
        await remote.fetch(site.at("/x.png", "%6cocalhost"), GUARDED)
    assert not site.asked


async def test_the_setting_forbids_all_of_it(site: Site) -> None:
    options = replace(OPEN, api_enable_requests=False)
    with pytest.raises(RequestsForbidden):
        await remote.picture(site.at("/x.png"), options)
    assert await remote.picture("aGVsbG8=", options) == "aGVsbG8="
    assert not site.asked


async def test_a_request_gets_its_pictures(site: Site) -> None:
    site.pages["/a.png"] = page(200, png(10))
    site.pages["/m.png"] = page(200, png(20))
    plain = base64.b64encode(png(30)).decode()
    request = Img2ImgRequest(
        init_images=[site.at("/a.png"), plain, site.at("/a.png")], mask=site.at("/m.png")
    )
    got = await remote.with_pictures(request, OPEN)
    first = base64.b64encode(png(10)).decode()
    assert got.init_images == [first, plain, first]
    assert got.mask == base64.b64encode(png(20)).decode()
    assert [path for path, *_ in site.asked] == ["/a.png", "/m.png"]
    assert request.mask == site.at("/m.png")
    for none in (Img2ImgRequest(init_images=[plain]), Img2ImgRequest(), Txt2ImgRequest()):
        assert await remote.with_pictures(none, OPEN) is none


async def test_pictures_of_a_request_have_a_size_together(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        site.pages[f"/{number}"] = page(200, png(number))
    monkeypatch.setattr(remote, "MAX_TOTAL", 2 * len(png()))
    with pytest.raises(BadAddress, match="allowed are"):
        await remote.pictures([site.at(f"/{number}") for number in range(3)], OPEN)


async def test_a_webhook_is_called_under_the_same_guard(site: Site) -> None:
    site.pages["/hook"] = page(204)
    site.pages["/moved"] = page(302, Location="/hook")
    assert await remote.post(site.at("/hook"), b'{"a": 1}', OPEN, 5) == 204
    assert site.bodies == [b'{"a": 1}']
    assert await remote.post(site.at("/moved"), b"{}", OPEN, 5) == 302
    assert len(site.asked) == 2
    with pytest.raises(LocalAddress):
        await remote.post(site.at("/hook"), b"{}", GUARDED, 5)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_certificates_are_those_of_the_name(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=a",
         "-addext", "subjectAltName=DNS:pictures.example"],
        check=True, capture_output=True,
    )  # fmt: skip
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(certificate, key)
    network = replace(
        names(pictures="127.0.0.1", other="127.0.0.1"),
        tls=lambda: ssl.create_default_context(cafile=certificate),
    )
    serving = serve(served)
    site = next(serving)
    site.pages["/x.png"] = page(200, png())
    url = site.at("/x.png", "pictures.example").replace("http:", "https:")
    assert await remote.fetch(url, OPEN, network=network) == png()
    with pytest.raises(BadAddress, match="cannot be reached"):
        await remote.fetch(url.replace("pictures", "other"), OPEN, network=network)
    with pytest.raises(BadAddress, match="cannot be reached"):
        await remote.fetch(url, OPEN, network=replace(network, tls=remote.NETWORK.tls))
    next(serving, None)
