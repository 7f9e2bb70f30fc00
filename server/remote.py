"""Addresses that clients send: what they point at is fetched, and nothing inside our network.

A host is resolved once, every address it has must be a public one, and the connection goes to that
very address: a name that points elsewhere a moment later changes nothing. Redirects pass the same
check, one by one. A fetch waits on the event loop and holds no thread.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import httpx2
import structlog

from . import imagecodec
from .options import Options
from .schemas.generation import GenerationRequest
from .schemas.img2img import Img2ImgRequest

log = structlog.get_logger(__name__)

MAX_BYTES = 2**26
"""Bytes that one picture at an address may have."""

MAX_TOTAL = 2**27
"""Bytes that the pictures of one request may have together: as many as its body may have."""

TIMEOUT_S = 30.0
"""What one picture may take, redirects and all."""

_CONNECT_S = 10.0
_HOPS = 5
_ADDRESSES = 4
_LONGEST = 8192
_SCHEMES = ("http", "https")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_UNREACHABLE = (httpx2.ConnectError, httpx2.ConnectTimeout)
_FAILED = (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError)

Request = TypeVar("Request", bound=GenerationRequest)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class RequestsForbidden(ValueError):
    """The server's settings forbid it to call any address."""


class LocalAddress(ValueError):
    """An address is not, or not only, on the public internet."""


class BadAddress(ValueError):
    """There is no picture to be had at an address, or it is none at all."""


async def _resolved(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How names become addresses, and whose certificates are believed."""

    resolve: Callable[[str, int], Awaitable[Sequence[str]]] = _resolved
    tls: Callable[[], ssl.SSLContext] = httpx2.create_ssl_context


NETWORK = Network()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A checked address of the web, and the network addresses that were checked for it."""

    url: httpx2.URL
    addresses: tuple[str, ...]


async def check_address(url: str, options: Options, network: Network = NETWORK) -> Target:
    """Where a client's address leads, if the server may go there.

    Raises:
        RequestsForbidden: `api_enable_requests` is off.
        LocalAddress: with `api_forbid_local_requests`, a host that has an address of our network.
        BadAddress: no http(s) address, or a host that cannot be found.
    """
    if not options.api_enable_requests:
        raise RequestsForbidden("api_enable_requests is off")
    parsed = _parsed(url)
    host = parsed.raw_host.decode("ascii")
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    try:
        async with asyncio.timeout(_CONNECT_S):
            found = await network.resolve(host, port)
        addresses = [ipaddress.ip_address(each.partition("%")[0]) for each in found]
    except (OSError, ValueError) as error:
        raise BadAddress(f"{host!r:.80} cannot be resolved: {error}") from error
    if options.api_forbid_local_requests and not all(map(_public, addresses)):
        raise LocalAddress(f"{host!r:.80} is not on the public internet")
    if not addresses:
        raise BadAddress(f"{host!r:.80} has no address")
    distinct = dict.fromkeys(map(str, addresses))
    return Target(url=parsed, addresses=tuple(distinct)[:_ADDRESSES])


async def fetch(
    url: str, options: Options, limit: int = MAX_BYTES, network: Network = NETWORK
) -> bytes:
    """What is at a client's address, at most `limit` bytes.

    Raises `RequestsForbidden`, `LocalAddress` and `BadAddress`, for every hop of a redirect too.
    """
    try:
        async with asyncio.timeout(TIMEOUT_S):
            for _ in range(_HOPS + 1):
                target = await check_address(url, options, network)
                answer = await _called("GET", target, options, network, limit)
                if answer.status not in _REDIRECTS:
                    break
                url = str(target.url.join(answer.location))
    except TimeoutError as error:
        raise BadAddress(f"{url!r:.80} took more than {TIMEOUT_S:g} s") from error
    except (LocalAddress, RequestsForbidden, BadAddress):
        raise
    except _FAILED as error:
        raise BadAddress(f"{url!r:.80}: {error!r}") from error
    if not 200 <= answer.status < 300:
        raise BadAddress(f"{url!r:.80} answered {answer.status}")
    return answer.body


async def post(
    url: str, body: bytes, options: Options, timeout_s: float, network: Network = NETWORK
) -> int:
    """Send JSON to a client's address and return the status; redirects are not followed.

    Raises `RequestsForbidden`, `LocalAddress` and `BadAddress`.
    """
    target = await check_address(url, options, network)
    try:
        async with asyncio.timeout(timeout_s):
            answer = await _called("POST", target, options, network, 0, body)
    except _FAILED as error:
        raise BadAddress(f"{url!r:.80}: {error!r}") from error
    return answer.status


async def picture(text: str, options: Options, network: Network = NETWORK) -> str:
    """A client's picture in base64: `text` itself, unless that is an address.

    Raises `RequestsForbidden`, `LocalAddress` and `BadAddress`.
    """
    return (await pictures([text], options, network))[0]


async def pictures(texts: Sequence[str], options: Options, network: Network = NETWORK) -> list[str]:
    """The pictures of one request in base64, an address that stands there twice fetched once.

    Raises `RequestsForbidden`, `LocalAddress` and `BadAddress`.
    """
    room, got = MAX_TOTAL, dict[str, str]()
    for text in texts:
        if imagecodec.is_address(text) and text not in got:
            got[text] = await _fetched(text, options, min(room, MAX_BYTES), network)
            room = max(room - len(got[text]), 1)
    return [got.get(text, text) for text in texts]


async def with_pictures(request: Request, options: Options, network: Network = NETWORK) -> Request:
    """The request with the pictures themselves where it names their addresses.

    Raises `RequestsForbidden`, `LocalAddress` and `BadAddress`.
    """
    if not isinstance(request, Img2ImgRequest):
        return request
    sent = [*(request.init_images or ()), request.mask]
    texts = [each for each in sent if isinstance(each, str) and imagecodec.is_address(each)]
    if not texts:
        return request
    got = dict(zip(texts, await pictures(texts, options, network), strict=True))
    *images, mask = (got.get(each, each) if isinstance(each, str) else each for each in sent)
    changed = {"init_images": None if request.init_images is None else images, "mask": mask}
    return request.model_copy(update=changed)


async def _fetched(url: str, options: Options, limit: int, network: Network) -> str:
    data = await fetch(url, options, limit, network)
    try:
        await asyncio.to_thread(imagecodec.check_header, data)
    except imagecodec.BadImage as error:
        raise BadAddress(f"{url!r:.80}: {error}") from error
    log.info("picture fetched", bytes=len(data))
    return imagecodec.to_base64(data)


def _parsed(url: str) -> httpx2.URL:
    """Raises `BadAddress`. The same parsing names the host that is checked and that is called."""
    if len(url) > _LONGEST or "\\" in url or not url.isprintable():
        raise BadAddress("no address of the web, or one that is written oddly")
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise BadAddress(f"no address of the web: {error}") from error
    if parsed.scheme not in _SCHEMES or not parsed.host or parsed.userinfo:
        raise BadAddress("no address of the web, or one with a user in it")
    if parsed.port is not None and not 0 < parsed.port < 2**16:
        raise BadAddress(f"port {parsed.port}: allowed are 1 to 65535")
    return parsed


def _public(address: Address) -> bool:
    """Whether an address is on the public internet, and so is any other that it stands for."""
    inner: Address | None = None
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local:
            return False
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if inner is not None:
        return _public(inner)
    return address.is_global and not (address.is_multicast or address.is_reserved)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    location: str
    body: bytes


async def _called(
    method: str,
    target: Target,
    options: Options,
    network: Network,
    limit: int,
    body: bytes | None = None,
) -> _Answer:
    """The answer of the first of the target's addresses that can be reached."""
    verify = await asyncio.to_thread(network.tls) if target.url.scheme == "https" else False
    failure: Exception | None = None
    async with httpx2.AsyncClient(
        verify=verify,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx2.Timeout(TIMEOUT_S, connect=_CONNECT_S),
    ) as client:
        for address in target.addresses:
            sent = _request(client, method, target.url, address, options, body)
            try:
                answer = await client.send(sent, stream=True)
            except _UNREACHABLE as error:
                failure = error
                continue
            try:
                return await _read(answer, limit)
            finally:
                await answer.aclose()
    raise BadAddress(f"{target.url.host!r:.80} cannot be reached: {failure!r}")


def _request(
    client: httpx2.AsyncClient,
    method: str,
    url: httpx2.URL,
    address: str,
    options: Options,
    body: bytes | None,
) -> httpx2.Request:
    """A request to `address` that asks for `url`, the name in TLS and in its header."""
    headers = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"}
    if options.api_useragent:
        headers["User-Agent"] = "".join(filter(_plain, options.api_useragent))
    if body is not None:
        headers["Content-Type"] = "application/json"
    return client.build_request(
        method,
        url.copy_with(host=address),
        headers=headers,
        content=body,
        extensions={"sni_hostname": url.raw_host.decode("ascii")},
    )


def _plain(letter: str) -> bool:
    return letter.isascii() and letter.isprintable()


async def _read(answer: httpx2.Response, limit: int) -> _Answer:
    """Status, where it redirects to, and what it says, not unpacked. Raises `BadAddress`."""
    location = answer.headers.get("Location", "")
    if answer.status_code in _REDIRECTS and not location:
        raise BadAddress("a redirect to nowhere")
    if not limit or not answer.is_success:
        return _Answer(status=answer.status_code, location=location, body=b"")
    told = answer.headers.get("Content-Length", "")
    if told.isdecimal() and int(told[:20]) > limit:
        raise BadAddress(f"{told[:20]} bytes; allowed are {limit}")
    body = bytearray()
    async for part in answer.aiter_raw():
        body += part
        if len(body) > limit:
            raise BadAddress(f"more than {limit} bytes")
    return _Answer(status=answer.status_code, location=location, body=bytes(body))
