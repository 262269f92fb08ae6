# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a generation: what it is, what went in, what it needs. Written last, it marks it as complete."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import typing as t

from ..errors import UvnasError
from ..host import files, sealing
from ..host.checksum import of_data
from ..host.data import is_time, made_of, wrong_fields
from ..host.platform import GNU, MUSL
from . import store
from .layout import Layout

FORMAT = 2

_EARLIER = (
    "It was written by an earlier version of uvnas.cluster. site.yml rebuilds its environment, beside it; "
    "uvnas.cluster.prune then removes this generation once nobody uses it any more."
)
DAMAGED_HINT = "Remove its generation (chmod -R u+w, then rm -r), and run site.yml to rebuild it."


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of a tree: ``bytes`` of all its files, ``own_bytes`` that it does not share, ``inodes`` of its own.

    A file linked from the cache, or from another environment, counts only in ``bytes``; a clone (reflink) does not
    count in ``own_bytes``.
    """

    files: int = 0
    bytes: int = 0
    own_bytes: int = 0
    inodes: int = 0


@dataclasses.dataclass(frozen=True)
class Need:
    """What one package needs: the oldest glibc that it runs with, and the platform tag of its wheel."""

    glibc: str
    tag: str


@dataclasses.dataclass(frozen=True)
class Needs:
    """What an environment needs from hosts: the machine, the libc, and the oldest glibc that it runs with.

    ``glibc`` is for all of it, ``interpreter`` for the interpreter alone; ``packages`` has those that need more than
    every host has. These are empty for another libc, or if it was built by a release that did not record them.
    """

    arch: str = ""
    libc: str = ""
    glibc: str = ""
    interpreter: str = ""
    packages: t.Mapping[str, Need] = dataclasses.field(default_factory=dict)

    def as_dict(self) -> dict[str, t.Any]:
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if value or (name == "packages" and self.glibc)
        }


@dataclasses.dataclass(frozen=True)
class Python:
    """The interpreter of a generation: uv's key, its exact version, and the digest of its content."""

    key: str
    version: str
    digest: str


@dataclasses.dataclass(frozen=True)
class LockFact:
    """The lock of a generation: the digest of what is locked, and of what that was resolved from.

    ``text`` is the digest of the generation's own file, comments and all: the very bytes that it was built from.
    """

    digest: str
    spec: t.Optional[str]
    text: str


@dataclasses.dataclass(frozen=True)
class ContentFact:
    """What a generation contains: the digest of the file with the details (see share/contents.py), and one of its
    packages, which is the same on every share as far as they are wheels."""

    files: str
    packages: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of ``.uvnas.json``."""

    environment: str
    id: str
    share: str
    builder: str
    # ISO 8601, UTC.
    created: str
    # How long the build took.
    seconds: float
    uv: str
    python: Python
    lock: LockFact
    content: ContentFact
    # Options of the build that decide what is in it.
    options: t.Mapping[str, t.Any]
    # Where it comes from, as the inventory puts it.
    source: t.Mapping[str, t.Any]
    imports: t.Sequence[str]
    # Version by name.
    packages: t.Mapping[str, str]
    platform: Needs
    size: Size

    def as_dict(self) -> dict[str, t.Any]:
        return {"format": FORMAT, **dataclasses.asdict(self), "platform": self.platform.as_dict()}


def write(path: str, manifest: Manifest) -> None:
    files.write(path, text(manifest))


# What vouches for the rest of a manifest, as nothing else does.
_OWN_DIGEST = "sha256"


def text(manifest: Manifest) -> str:
    """The manifest as it is written, with a digest of itself."""
    data = manifest.as_dict()
    return _text({**data, _OWN_DIGEST: of_data(data)})


def _text(data: t.Mapping[str, t.Any]) -> str:
    return json.dumps(data, indent=2, sort_keys=True) + "\n"


def is_whole(content: bytes, what: str) -> t.Optional[bool]:
    """Whether the content of a manifest, read from ``what``, is what was written, to the last byte.

    None: it was written by an earlier version, which added no digest. Raises UvnasError if it is no JSON object.
    """
    data = files.json_object(content, what)
    digest = data.pop(_OWN_DIGEST, None)
    if digest is None:
        return None
    return bool(digest == of_data(data)) and content == _text({**data, _OWN_DIGEST: digest}).encode()


def read(path: str) -> t.Optional[Manifest]:
    """The manifest at ``path``; None if there is none. Raises UvnasError if it is damaged."""
    data = files.read_json(path)
    return None if data is None else parse(data, path)


def of_generation(layout: Layout, env: str, generation_id: str) -> t.Optional[Manifest]:
    """The manifest of a generation; None if there is no complete generation with that id. Raises UvnasError."""
    found = with_status(layout, env, generation_id)
    return None if found is None else found[0]


def with_status(layout: Layout, env: str, generation_id: str) -> t.Optional[tuple[Manifest, os.stat_result]]:
    """The same, and the status of its file, which is the witness of its generation (see host/sealing)."""
    found = files.read_with_status(layout.manifest(env, generation_id))
    return None if found is None else (in_content(found[0], layout, env, generation_id), found[1])


def in_content(content: bytes, layout: Layout, env: str, generation_id: str) -> Manifest:
    """The manifest in ``content``, that of the file of a generation. Raises UvnasError if it is anything else."""
    path = layout.manifest(env, generation_id)
    try:
        found = parse(files.json_object(content, path), path)
    except UvnasError as error:
        raise UvnasError(str(error), hint=error.hint or anew(path)) from error
    if (found.environment, found.id) != (env, generation_id):
        raise UvnasError(
            f"{path} is the manifest of another generation, {found.id!r} of environment {found.environment!r}",
            hint=anew(path),
        )
    return found


def anew(path: str) -> str:
    """A hint: how to rebuild a damaged generation. ``path`` is that of its manifest."""
    return (
        "To rebuild it, at a time when nobody uses it, run this as the share's owner, and then site.yml: "
        f"{sealing.removal(path)}"
    )


def users_of(layout: Layout, key: str) -> list[str]:
    """The generations on a share that use the interpreter ``key``: ``train (1a2b…)``. Raises UvnasError."""
    found = []
    for env in store.known_environments(layout):
        for generation_id in store.generations(layout, env):
            manifest = of_generation(layout, env, generation_id)
            if manifest is not None and manifest.python.key == key:
                found.append(f"{env} ({generation_id})")
    return found


def parse(data: t.Mapping[str, t.Any], what: str) -> Manifest:
    """The manifest in ``data``, which was read from ``what``. Raises UvnasError if it is anything else."""
    number = data.get("format")
    if number != FORMAT:
        earlier = isinstance(number, int) and not isinstance(number, bool) and number < FORMAT
        raise UvnasError(
            f"{what} has format {number!r}, not {FORMAT}",
            hint=_EARLIER if earlier else "Was it written by a newer version of uvnas.cluster? Then use that version.",
        )
    given: dict[str, t.Any] = {field.name: data.get(field.name) for field in dataclasses.fields(Manifest)}
    given.update(
        python=made_of(given["python"], Python),
        lock=made_of(given["lock"], LockFact),
        content=made_of(given["content"], ContentFact),
        platform=_needs(given["platform"]),
        size=made_of(given["size"], Size),
    )
    wrong = [*wrong_fields(Manifest, given), *([] if is_time(given["created"]) else ["created"])]
    if given["python"] is not None and not _PYTHON.fullmatch(given["python"].version):
        wrong.append("python")
    if wrong:
        raise UvnasError(
            f"{what} is damaged: missing or invalid {', '.join(dict.fromkeys(wrong))}",
            hint=anew(what),
        )
    return Manifest(**given)


# A version of CPython, with all three numbers; t: free-threaded.
_PYTHON = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}t?")
# (With more digits there is no such version, and perhaps no such number.)
_VERSION = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")


def _needs(data: t.Any) -> t.Optional[Needs]:
    """A manifest's needs, empty if they were not recorded; None if they are damaged, which is not the same."""
    if data is None:
        return Needs()
    needs = made_of(data, Needs)
    if needs is None or needs.libc not in ("", GNU, MUSL):
        return None
    packages = {name: made_of(need, Need) for name, need in needs.packages.items()}
    found = {name: need for name, need in packages.items() if need is not None}
    versions = [*filter(None, (needs.glibc, needs.interpreter)), *(need.glibc for need in found.values())]
    if len(found) != len(packages) or not all(map(_VERSION.fullmatch, versions)):
        return None
    return dataclasses.replace(needs, packages=found)
