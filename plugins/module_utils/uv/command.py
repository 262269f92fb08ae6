# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How uv is called on a share: its variables, all index settings in one place, credentials where nobody sees them."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ..errors import SpecError
from ..host.process import Completed, Runner, check
from ..share.layout import Layout
from . import config

# How many threads of uv link files, and processes compile them. By default as many as there are processors.
CONCURRENT_INSTALLS = "UV_CONCURRENT_INSTALLS"

# The variables that uv may inherit from the module: those for reaching the network, and credentials that a site keeps
# there. Anything else would make the same converge do different things for different people.
_INHERITED = frozenset(
    {
        "ALL_PROXY",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "NETRC",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "SSL_CLIENT_CERT",
        "TMPDIR",
        "UV_CONCURRENT_BUILDS",
        "UV_CONCURRENT_DOWNLOADS",
        CONCURRENT_INSTALLS,
        "UV_HTTP_RETRIES",
        "UV_HTTP_TIMEOUT",
        "UV_NATIVE_TLS",
        "UV_SYSTEM_CERTS",
    }
)

# Paths of files with credentials in them.
_CREDENTIALS = frozenset({"NETRC", "SSL_CLIENT_CERT"})
# Where systems keep the certificates they trust: Debian and SUSE, Red Hat, Alpine.
_CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclasses.dataclass(frozen=True)
class Index:
    """Where packages come from."""

    default: t.Optional[str] = None
    extra: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    offline: bool = False
    strategy: t.Optional[str] = None
    keyring: bool = False
    torch_backend: t.Optional[str] = None

    @classmethod
    def from_params(cls, params: t.Optional[t.Mapping[str, t.Any]]) -> Index:
        """From the value of a module's ``index`` option."""
        given = {key: value for key, value in (params or {}).items() if value is not None}
        for key in ("extra", "find_links"):
            given[key] = tuple(given.get(key, ()))
        return cls(**given)

    def check(self) -> None:
        """Raise SpecError if uv would split an address into several, one of which would be a part of a password."""
        for key, urls, wrong in (
            ("default", (self.default or "",), r"\s"),
            ("extra", self.extra, r"\s"),
            ("find_links", self.find_links, r",|://.*\s"),  # A directory may well have a space in its name.
        ):
            if any(re.search(wrong, url) for url in urls):
                raise SpecError(
                    f"uvnas_index.{key}: an address contains {'a comma or ' * (',' in wrong)}white space",
                    hint="Write %20 for a space and %2C for a comma, in a password too.",
                )

        for key, urls in (("default", (self.default or "",)), ("extra", self.extra), ("find_links", self.find_links)):
            for url in urls:
                place = re.sub(r"^[\w.-]+=", "", url)  # An index may have a name.
                if place and "://" not in place and not place.startswith("/"):
                    raise SpecError(
                        f"uvnas_index.{key}: {place!r} is neither an address nor an absolute path",
                        hint="Begin a directory with /. It is one on the builder.",
                    )

    def urls(self) -> tuple[str, ...]:
        """Everything here that may carry a credential."""
        return ((self.default,) if self.default else ()) + self.extra + self.find_links

    def settings(self) -> dict[str, str]:
        """The settings, by name, that decide which packages are chosen, wherever they are fetched from."""
        chosen = {"strategy": self.strategy, "torch_backend": self.torch_backend}
        return {key: value for key, value in chosen.items() if value}

    def variables(self) -> dict[str, str]:
        """The settings as variables of uv, which gets some of them another way, see config."""
        variables = {
            "UV_DEFAULT_INDEX": self.default or "",
            "UV_INDEX": " ".join(self.extra),
            # uv splits this one at commas (clap's value delimiter), the indexes at white space.
            "UV_FIND_LINKS": ",".join(self.find_links),
            "UV_OFFLINE": "1" if self.offline else "",
            "UV_INDEX_STRATEGY": self.strategy or "",
            "UV_KEYRING_PROVIDER": "subprocess" if self.keyring else "",
            "UV_TORCH_BACKEND": self.torch_backend or "",
        }
        return {key: value for key, value in variables.items() if value}


@dataclasses.dataclass(frozen=True)
class Uv:
    """uv at work for one share."""

    layout: Layout
    runner: Runner
    index: Index = Index()
    # Proxies, certificates, whatever the site's uv needs. Wins over what is inherited. See config.check_variables().
    extra_variables: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    # None: the share's cache. Check mode uses one of its own, to leave the share alone.
    cache_dir: t.Optional[str] = None

    def __post_init__(self) -> None:
        self.index.check()
        config.check_variables(self.extra_variables)

    def variables(self) -> dict[str, str]:
        """Everything that uv is told, as variables; secrets included."""
        inherited = {
            key: value
            for key, value in os.environ.items()
            if key.upper() in _INHERITED or config.is_index_credential(key)
        }
        return {
            # No shims, no users' tools: uv searches PATH for interpreters; builds find only the system's compilers.
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": os.environ.get("HOME", "/"),
            "LC_ALL": "C",
            # Keeps the owner's own packages in ~/.local from every Python that uv starts.
            "PYTHONNOUSERSITE": "1",
            # pip trusts what the host trusts, and a site's own certificate authority is nowhere else.
            **({"UV_SYSTEM_CERTS": "1"} if any(map(os.path.exists, _CERTIFICATES)) else {}),
            **inherited,
            **self.index.variables(),
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_CACHE_DIR": self.cache_dir or self.layout.cache,
            "UV_PYTHON_INSTALL_DIR": self.layout.python,
            "UV_PYTHON_CACHE_DIR": self.layout.python_archives,
            "UV_PYTHON_DOWNLOADS": "never",
            **{name: str(value) for name, value in self.extra_variables.items()},
        }

    def pinned_variables(self) -> dict[str, str]:
        """Further ones for what is pinned and hashed: any index that has the right version will do.

        The first index that has a package at all may be a small one that has only other versions of it.
        """
        several = self.index.extra and not self.index.strategy
        return {"UV_INDEX_STRATEGY": "unsafe-best-match"} if several else {}

    def public_variables(self) -> dict[str, str]:
        """The variables for programs other than uv, which are not trusted: nothing of uv's, and no secrets."""
        known, _settings = config.split(self.variables())
        return {n: v for n, v in known.items() if not n.startswith("UV_") and n.upper() not in _CREDENTIALS}

    def run(
        self,
        *args: str,
        variables: t.Optional[t.Mapping[str, str]] = None,
        cwd: t.Optional[str] = None,
        build_variables: t.Optional[t.Mapping[str, t.Mapping[str, str]]] = None,
    ) -> Completed:
        """Run ``uv args…``; ``variables`` are further ones. A return code other than 0 is not an error here.

        ``build_variables`` are those for builds, by the normalized name of the package.
        """
        known, settings = config.split({**self.variables(), **(variables or {})})
        settings += config.build_variables(build_variables or {})
        told = config.ARGUMENTS if settings else ()
        return self.runner.run(self._argv((*told, *args)), variables=known, cwd=cwd, stdin=settings or None)

    def run_alone(self, *args: str, variables: t.Mapping[str, str], cwd: str) -> Completed:
        """Run ``uv args…`` with ``variables`` only, and none of the site's settings."""
        known = {**self.public_variables(), **variables}
        return self.runner.run(self._argv(args), variables=known, cwd=cwd)

    def check(
        self,
        *args: str,
        message: str,
        hint: str = "",
        variables: t.Optional[t.Mapping[str, str]] = None,
        cwd: t.Optional[str] = None,
    ) -> Completed:
        """Like run(), but a return code other than 0 raises CommandError, whose text begins with ``message``."""
        return check(self.run(*args, variables=variables, cwd=cwd), self._argv(args), message, hint=hint)

    def _argv(self, args: t.Sequence[str]) -> list[str]:
        return [self.layout.uv, "--color", "never", *args]
