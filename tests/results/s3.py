"""An object store on this machine that speaks S3 and, while told to, fails as networks and servers
do.

It keeps its objects in memory and knows the requests that pyarrow makes. Signatures are not
checked, only whose they are.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import BinaryIO, Literal, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

KEY, SECRET, BUCKET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCY", "bucket"

Fault = Literal[
    "drop", "lose answer", "cut answer", "short answer", "hang", "500", "503", "429", "403"
]
"""What happens to a request: its connection is closed before it is done; after it was done; in the
middle of the answer; the answer has half of the data and claims to be complete; it waits, and is
closed; or it is answered with an error."""
CODES = {
    500: "InternalError",
    503: "SlowDown",
    429: "TooManyRequests",
    403: "AccessDenied",
    404: "NoSuchKey",
}


class Request(NamedTuple):
    method: str
    bucket: str
    key: str
    query: dict[str, str]


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: dict[str, str] = {}  # never changed  # noqa: RUF012


class S3(ThreadingHTTPServer):
    """The server; in a ``with`` it runs, and stops."""

    daemon_threads = True
    request_queue_size = 128
    page = 1000
    """Objects in one listing at most."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Handler)
        self.buckets: dict[str, dict[str, bytes]] = {BUCKET: {}}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: list[Request] = []
        """Every request that came, also those that failed."""
        self.hang_seconds = 30.0
        self._ids = itertools.count()
        self._faults: deque[Fault] = deque()
        self._always: tuple[Fault, re.Pattern[str]] | None = None
        self._lock = threading.Lock()
        self.stopping = threading.Event()

    @property
    def objects(self) -> dict[str, bytes]:
        return self.buckets[BUCKET]

    def uri(
        self, prefix: str = "results", *, bucket: str = BUCKET, key: str = KEY, more: str = ""
    ) -> str:
        """Where pyarrow finds ``prefix``."""
        host = f"{self.server_address[0]}:{self.server_port}"
        user = f"{key}:{quote(SECRET, safe='')}"
        return f"s3://{user}@{bucket}/{prefix}?scheme=http&endpoint_override={host}&region=us-east-1{more}"

    def fail(self, *faults: Fault) -> None:
        """The next requests fail so, one after the other."""
        with self._lock:
            self._faults.extend(faults)

    @contextmanager
    def failing(self, fault: Fault, pattern: str = "") -> Iterator[None]:
        """Within the block every request fails so whose "METHOD bucket/key?query" has ``pattern``
        in it."""
        self._always = (fault, re.compile(pattern))
        try:
            yield
        finally:
            self._always = None

    @property
    def failures_left(self) -> int:
        return len(self._faults)

    def fault(self, request: Request) -> Fault | None:
        """What is to happen to a request that has come."""
        with self._lock:
            self.requests.append(request)
            if self._faults:
                return self._faults.popleft()
        if self._always is None:
            return None
        fault, pattern = self._always
        method, bucket, key, query = request
        return fault if pattern.search(f"{method} {bucket}/{key}?{'&'.join(query)}") else None

    def answer(self, request: Request, body: bytes, headers: dict[str, str]) -> Answer:
        """Do what is asked for."""
        with self._lock:
            if f"Credential={KEY}/" not in headers.get("authorization", ""):
                return error(403, "InvalidAccessKeyId")
            if request.method == "PUT" and not request.key:
                self.buckets[request.bucket] = {}
                return Answer(200)
            if request.bucket not in self.buckets:
                return error(404, "NoSuchBucket")
            objects = self.buckets[request.bucket]
            if not request.key:
                return (
                    Answer(200)
                    if request.method == "HEAD"
                    else self._listing(objects, request.query)
                )
            if "uploads" in request.query or "uploadId" in request.query:
                return self._multipart(objects, request, body)
            return self._object(objects, request, body, headers.get("range"))

    def _object(
        self, objects: dict[str, bytes], request: Request, body: bytes, span: str | None
    ) -> Answer:
        if request.method == "PUT":
            objects[request.key] = body
            return Answer(200, headers={"ETag": etag(body)})
        if request.method == "DELETE":
            objects.pop(request.key, None)
            return Answer(204)
        if request.key not in objects:
            return error(404, "NoSuchKey")
        data = objects[request.key]
        facts = {
            "ETag": etag(data),
            "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
            "Accept-Ranges": "bytes",
        }
        if span is None:
            return Answer(200, data, facts)
        first, last = (int(part) for part in span.removeprefix("bytes=").split("-"))
        part = data[first : last + 1]
        facts["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        return Answer(206, part, facts)

    def _multipart(self, objects: dict[str, bytes], request: Request, body: bytes) -> Answer:
        if "uploads" in request.query:
            upload = f"upload{next(self._ids)}"
            self.uploads[upload] = {}
            return xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
        upload = request.query["uploadId"]
        if upload not in self.uploads:
            return error(404, "NoSuchUpload")
        if request.method == "PUT":
            self.uploads[upload][int(request.query["partNumber"])] = body
            return Answer(200, headers={"ETag": etag(body)})
        parts = self.uploads.pop(upload)
        if request.method == "POST":
            objects[request.key] = b"".join(parts[number] for number in sorted(parts))
            return xml(
                "CompleteMultipartUploadResult", f"<ETag>{etag(objects[request.key])}</ETag>"
            )
        return Answer(204)

    def _listing(self, objects: dict[str, bytes], query: dict[str, str]) -> Answer:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        entries = set()
        for key in objects:
            if key.startswith(prefix):
                inside, found, _ = (
                    key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
                )
                entries.add(prefix + inside + found if found else key)
        after = query.get("continuation-token", query.get("start-after", ""))
        wanted = sorted(entry for entry in entries if entry > after)
        shown = wanted[: min(self.page, int(query.get("max-keys", self.page)))]
        text = f"<KeyCount>{len(shown)}</KeyCount>"
        for entry in shown:
            if entry in objects:
                text += f"<Contents><Key>{escape(entry)}</Key><Size>{len(objects[entry])}</Size></Contents>"
            else:
                text += f"<CommonPrefixes><Prefix>{escape(entry)}</Prefix></CommonPrefixes>"
        if len(shown) < len(wanted):
            text += f"<IsTruncated>true</IsTruncated><NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>"
        else:
            text += "<IsTruncated>false</IsTruncated>"
        return xml("ListBucketResult", text)

    def __enter__(self) -> S3:
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up: that is what this is for."""


class Handler(BaseHTTPRequestHandler):
    server: S3
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _do(self) -> None:
        split = urlsplit(self.path)
        bucket, _, key = unquote(split.path).removeprefix("/").partition("/")
        query = {
            name: values[0]
            for name, values in parse_qs(split.query, keep_blank_values=True).items()
        }
        request, body = Request(self.command, bucket, key, query), self._body()
        fault = self.server.fault(request)
        if fault == "hang":
            self.server.stopping.wait(self.server.hang_seconds)
        if fault in ("drop", "hang"):
            return self._hang_up()
        if fault is not None and fault.isdigit():
            return self._send(error(int(fault), CODES[int(fault)]))
        answer = self.server.answer(
            request, body, {name.lower(): value for name, value in self.headers.items()}
        )
        if fault == "lose answer":
            return self._hang_up()
        if fault == "short answer":
            answer = answer._replace(body=answer.body[: len(answer.body) // 2])
        return self._send(answer, cut=fault == "cut answer")

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _do

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = chunks(self.rfile)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return (
            chunks(BytesIO(body))
            if "aws-chunked" in self.headers.get("Content-Encoding", "")
            else body
        )

    def _send(self, answer: Answer, *, cut: bool = False) -> None:
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Quiet."""


def chunks(file: BinaryIO) -> bytes:
    """A body in chunks, of HTTP as of AWS: size and perhaps a signature, data, …, zero and perhaps
    a checksum."""
    body = b""
    while size := int(file.readline().partition(b";")[0], 16):
        body += file.read(size)
        file.readline()
    while file.readline().strip():
        pass
    return body


def xml(name: str, inner: str) -> Answer:
    return Answer(
        200,
        f'<?xml version="1.0"?><{name}>{inner}</{name}>'.encode(),
        {"Content-Type": "application/xml"},
    )


def error(status: int, code: str) -> Answer:
    return xml("Error", f"<Code>{code}</Code><Message>{code}, says the test</Message>")._replace(
        status=status
    )


def etag(body: bytes) -> str:
    return f'"{md5(body).hexdigest()}"'
