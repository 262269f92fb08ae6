# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets for tests, servers that require them, and where they might leak: files, processes, logs."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import http.server
import os
import re
import threading
import time
import typing as t
from pathlib import Path
from urllib.parse import quote, urlsplit


@dataclasses.dataclass(frozen=True)
class Secret:
    """Credentials that must not leak. ``core`` is part of the password, or of a token used as user, encoded or not."""

    core: str
    user: str = "alice"
    token_only: bool = False

    @property
    def plain(self) -> str:
        """The secret, with characters that a URL has to encode."""
        return f"{self.core}/@:"

    @property
    def pair(self) -> str:
        """User and password, as a client sends them."""
        return f"{self.plain}:" if self.token_only else f"{self.user}:{self.plain}"

    @property
    def userinfo(self) -> str:
        """The same, as in a URL."""
        secret = quote(self.plain, safe="")
        return secret if self.token_only else f"{self.user}:{secret}"

    @property
    def forms(self) -> tuple[bytes, ...]:
        """Every form in which it may leak."""
        pairs = (self.pair, self.userinfo, f"{self.userinfo}:")
        encoded = {base64.b64encode(pair.encode()).rstrip(b"=") for pair in pairs}
        return (self.core.encode(), *sorted(encoded))


@dataclasses.dataclass
class Doorkeeper:
    """Serves ``directory`` only to requests with a secret, and counts them. Works as a proxy, too."""

    directory: Path
    secret: Secret
    proxy: bool = False
    let_in: list[str] = dataclasses.field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        keeper = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: t.Any) -> None:
                super().__init__(*args, directory=str(keeper.directory))

            def do_GET(self) -> None:
                if not keeper.knows(self.headers.get("Proxy-Authorization" if keeper.proxy else "Authorization")):
                    keeper.refused += 1
                    self.send_response(407 if keeper.proxy else 401)
                    self.send_header("WWW-Authenticate", 'Basic realm="tests"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                keeper.let_in.append(self.path)
                self.path = urlsplit(self.path).path  # Proxies get the whole URL.
                super().do_GET()

            def log_message(self, *args: object) -> None:
                """Log nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def knows(self, given: str | None) -> bool:
        return given == f"Basic {base64.b64encode(self.secret.pair.encode()).decode()}"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "", secret: Secret | None = None) -> str:
        """A URL of this server, with these credentials, or the right ones."""
        return f"http://{(secret or self.secret).userinfo}@127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Watch:
    """Polls all processes while the block runs; collects their arguments and variables, once each."""

    def __init__(self) -> None:
        self.cmdlines: set[bytes] = set()
        self.environs: set[bytes] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> t.Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.is_set():
            for entry in os.listdir("/proc"):
                if entry.isdigit():
                    for kind, kept in (("cmdline", self.cmdlines), ("environ", self.environs)):
                        with contextlib.suppress(OSError), open(f"/proc/{entry}/{kind}", "rb") as file:
                            kept.add(file.read())
            time.sleep(0.02)


def in_texts(texts: t.Iterable[bytes], forms: t.Collection[bytes]) -> list[str]:
    """The occurrences of ``forms`` in ``texts``, with some text before each."""
    pattern, found = re.compile(b"|".join(map(re.escape, forms))), []
    for text in texts:
        match = pattern.search(text)
        if match:
            found.append(text[max(0, match.start() - 200) : match.end()].decode(errors="replace"))
    return found


def in_files(directories: t.Iterable[Path], forms: t.Collection[bytes]) -> list[str]:
    """The files below ``directories`` with one of ``forms`` in their content, name or link target."""
    pattern, found = re.compile(b"|".join(map(re.escape, forms))), []
    for path in (path for directory in directories for path in sorted(directory.rglob("*"))):
        texts = [os.fsencode(path)]
        if path.is_symlink():
            texts.append(os.readlink(path).encode())
        elif path.is_file():
            texts.append(path.read_bytes())
        match = next(filter(None, map(pattern.search, texts)), None)
        if match:
            found.append(f"{path}: {match[0].decode()}")
    return found


# As sitecustomize, this makes a Python write to a file what is meant for the system log.
TELL_TALE_LOG = """
import os, sys, syslog
sys.modules["systemd"] = None

def _note(*args):
    with open({path!r}, "a") as log:
        log.write(repr(args) + "\\n")

syslog.syslog = syslog.openlog = _note
"""
# Runs first in a build backend: writes down all that it can learn about itself and its parent processes.
SPY = """
import os as _os

def _spy():
    pid, seen = _os.getpid(), []
    while pid > 1:
        for name in ("cmdline", "environ"):
            try:
                with open(f"/proc/{{pid}}/{{name}}", "rb") as file:
                    seen.append(file.read())
            except OSError:
                pass
        with open(f"/proc/{{pid}}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
    seen.append(repr(dict(_os.environ)).encode())
    try:
        seen.append(_os.read(0, 1 << 20))
    except OSError:
        pass
    text = b"\\n".join(seen)
    with open({path!r}, "ab") as file:
        file.write(text)
    return text

_spy()
"""
