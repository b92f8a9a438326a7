"""The report of a run that goes on: served on this machine, its parts replaced in the open page as they change."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hpsearch.analysis import analyze
from hpsearch.analysis.document import to_document
from hpsearch.analysis.folder import fingerprint
from hpsearch.errors import InputError
from hpsearch.figures.result import Result, read_result
from hpsearch.reporting.build import build_report
from hpsearch.results import is_running, load, read_run

LOOK = 2.0  # seconds between two looks at the run folder
REST = 4.0  # an analysis that took t seconds is followed by 4 t without: the run needs the processors
# The sections that new trials alone change; all others wait for the next analysis.
QUICK = ("curves", "trials", "made")
HOSTS = ("127.0.0.1", "localhost")


class LiveReport:
    """Sections of the report by id, kept up to date by a thread of its own."""

    def __init__(self, folder: Path, told: Callable[[str], None]) -> None:
        """Makes the report once. Raises InputError for a folder without a run."""
        self._folder, self._told = folder, told
        self._lock = threading.Lock()
        self._seen = self._analysed = fingerprint(folder)
        begun = time.monotonic()
        self._html = build_report(read_result(folder, told=told), live=True)
        self._sections = cut(self._html)
        self._rest_until = time.monotonic() + REST * (time.monotonic() - begun)
        self._changed = time.time()

    @property
    def page(self) -> str:
        """The whole page, as it would be opened now, with the hashes of its sections."""
        with self._lock:
            html = self._html
            for name, part in cut(html).items():
                html = html.replace(part, self._sections[name], 1)
            return html.replace("<body>", f"<body data-sections='{json.dumps(self._hashes())}'>", 1)

    def _hashes(self) -> dict[str, str]:
        return {name: hashlib.sha256(part.encode()).hexdigest()[:16] for name, part in self._sections.items()}

    def section(self, name: str) -> str | None:
        with self._lock:
            return self._sections.get(name)

    def state(self) -> dict[str, Any]:
        """A hash by section, whether the run goes on, when something last changed (seconds since 1970)."""
        with self._lock:
            hashes = self._hashes()
            waiting = self._analysed != self._seen
        return {
            "sections": hashes,
            "running": is_running(self._folder),
            "changed": self._changed,
            "analysis_waits": waiting,
        }

    def look(self) -> None:
        """Makes anew what has changed in the run folder since the last look. A report that can't be made now, whatever
        the reason, is tried again at a later look: the page stays as it is, and the reason is told.
        """
        try:
            found = fingerprint(self._folder)
            if found != self._seen:
                self._replace(self._quick(), QUICK)
                self._seen = found
            rested = time.monotonic() >= self._rest_until or not is_running(self._folder)
            if found != self._analysed and rested:
                begun = time.monotonic()
                self._replace(read_result(self._folder))
                self._analysed = found
                self._rest_until = time.monotonic() + REST * (time.monotonic() - begun)
        except Exception as error:
            self._told(f"not made anew: {type(error).__name__}: {error}")

    def _quick(self) -> Result:
        """The trials with the statistics that need no model."""
        study, table = read_run(self._folder), load(self._folder)
        found = analyze(table, study, options=None)
        return Result(to_document(found, study), found.trials, study)

    def _replace(self, result: Result, names: tuple[str, ...] | None = None) -> None:
        html = build_report(result, live=True)
        parts = {name: part for name, part in cut(html).items() if names is None or name in names}
        with self._lock:
            if names is None:
                self._html = html
            self._sections = {**self._sections, **parts}
            self._changed = time.time()


def cut(html: str) -> dict[str, str]:
    """The page's sections by id. Text of a table can't end one: it is escaped."""
    parts = {}
    for part in html.split('<section id="')[1:]:
        name, _, rest = part.partition('"')
        parts[name] = f'<section id="{name}"{rest.partition("</section>")[0]}</section>'
    return parts


def serve(folder: Path, port: int, told: Callable[[str], None], ready: Callable[[str], None]) -> None:
    """Serves the report on 127.0.0.1 until interrupted. ready: called with the address. port 0: any that is free.

    Raises InputError for a folder without a run, or a port that is taken.
    """
    live = LiveReport(folder, told)
    server = open_server(live, port)
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(LOOK):
            live.look()

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    ready(address(server))
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        pass  # the way to end it
    finally:
        stop.set()
        server.server_close()


def open_server(live: LiveReport, port: int) -> ThreadingHTTPServer:
    """Listens on 127.0.0.1, and answers once serve_forever is called. Raises InputError for a port that is taken.

    Other users of this machine can reach the port, too: only who has the whole `address` is answered.
    """
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(live))
    except (OSError, OverflowError) as error:
        raise InputError(f"--port {port}: cannot be listened to: {error}; allowed: a free port, or 0 for any") from None
    server.daemon_threads = True
    return server


def address(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}{server.RequestHandlerClass.root}"  # type: ignore[attr-defined]


def _handler(live: LiveReport) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        root = f"/{secrets.token_urlsafe(12)}/"

        def do_GET(self) -> None:
            # A page of another site that has this machine's name pointed at us must not read it.
            if (self.headers.get("Host") or "").rsplit(":", 1)[0] not in HOSTS:
                self.send_error(403)
            elif self.path == self.root:
                self._send(live.page, "text/html")
            elif self.path == f"{self.root}state":
                self._send(json.dumps(live.state()), "application/json")
            elif (part := live.section(self.path.removeprefix(f"{self.root}section/"))) is not None:
                self._send(part, "text/html")
            else:
                self.send_error(404)

        def _send(self, text: str, kind: str) -> None:
            content = text.encode("utf-8", "replace")
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            try:
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the reader closed the page

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: a line a second says nothing."""

    return Handler
