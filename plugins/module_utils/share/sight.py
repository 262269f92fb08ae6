# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A share as a process sees it that has seen it before, and was told what it read then.

What has not changed since is not read again. To read a file costs an OPEN, a CLOSE and perhaps a READ on NFS, and a
link a GETATTR; whether all of them are what they were takes one RPC for each directory that they are in, and one for
each manifest. Writes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import time
import typing as t

from ..errors import UvnasError
from ..host import files
from ..host.stamps import Stamp, is_old, opened, stamp_of
from . import identity as identities
from . import manifest as manifests
from . import store
from .identity import Identity
from .manifest import Manifest
from .spec import Share

_IDENTITY = "identity"
_LINKS = "links"
# Bytes. What is longer is read again each time: manifests have a tenth of it.
_LONGEST = 1 << 18


@dataclasses.dataclass(frozen=True)
class Read:
    """What was read, and the stamp of what it was read from."""

    # Whatever else is here only means that it is read again.
    stamp: Stamp
    text: str


# By what it is.
Memory = t.Mapping[str, Read]


class Sight:
    """One share. Looks at each thing once."""

    def __init__(self, share: Share, memories: t.Iterable[Memory] = ()) -> None:
        """Of ``memories``, that of the share which is there is used, if it is among them."""
        self._share = share
        self._layout = share.layout
        self._memories = list(memories)
        self._memory: Memory = {}
        # Whatever is looked at is looked at later.
        self._now = time.time()
        self._ids: dict[str, t.Optional[str]] = {}
        self._to_remember: dict[str, Read] = {}

    @functools.cached_property
    def identity(self) -> Identity:
        """Which share it is. Raises UvnasError if there is none, or another one."""
        status = self._status_of_identity()
        if status is None:
            return identities.identify(self._share)
        for memory in self._memories:
            text = _text(memory, _IDENTITY, stamp_of(status))
            with contextlib.suppress(UvnasError):  # To read it says why.
                if text is not None:
                    found = identities.identity_in(text.encode(), self._share)
                    self._memory, self._to_remember[_IDENTITY] = memory, memory[_IDENTITY]
                    return found
        content = files.read_bytes(self._layout.identity)
        if content is None:
            raise identities.no_share(self._share)
        found = identities.identity_in(content, self._share)
        self._keep(_IDENTITY, content, status)
        return found

    def _status_of_identity(self) -> t.Optional[os.stat_result]:
        with contextlib.suppress(OSError), opened(self._layout.root) as root:
            return os.stat(os.path.basename(self._layout.identity), dir_fd=root)
        return None

    @functools.cached_property
    def environments(self) -> list[str]:
        """The names of all published environments, sorted."""
        return store.environments(self._layout) if self._links is None else sorted(self._links)

    def published(self, env: str) -> t.Optional[str]:
        """The generation of an environment that is in force; None if there is none. Raises UvnasError."""
        if self._links is not None:
            return self._links.get(env)
        self._ids[env] = store.published(self._layout, env)
        return self._ids[env]

    @functools.cached_property
    def _links(self) -> t.Optional[dict[str, str]]:
        """What all links point to; None if that is not known for certain. A link changes only with its directory."""
        text = None if self._envs is None else _text(self._memory, _LINKS, stamp_of(self._envs))
        with contextlib.suppress(ValueError, RecursionError):
            found = None if text is None else json.loads(text)
            if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
                return found
        return None

    @functools.cached_property
    def _envs(self) -> t.Optional[os.stat_result]:
        """The status of the directory of links, before any of them is looked at."""
        return _asked(self._layout.envs)

    def manifest(self, env: str, generation_id: str) -> t.Optional[tuple[Manifest, os.stat_result]]:
        """The manifest of a generation, and the status of its file; None if it is not complete. Raises UvnasError."""
        found = self._unchanged(env, generation_id)
        if found is not None:
            return found
        directory = None
        with contextlib.suppress(OSError):
            directory = os.lstat(self._layout.generation(env, generation_id))
        path = self._layout.manifest(env, generation_id)
        read = files.read_with_status(path)
        if read is None:  # Or so an NFS client believes, who has looked for it in vain before.
            directory = self._directory(env, generation_id)
            read = None if directory is None else files.read_with_status(path)
        if read is None:
            return None
        content, status = read
        manifest = manifests.in_content(content, self._layout, env, generation_id)
        if directory is not None:
            self._keep(_name(env, generation_id), content, directory, status)
        return manifest, status

    def _unchanged(self, env: str, generation_id: str) -> t.Optional[tuple[Manifest, os.stat_result]]:
        """The same, if it is known and still what it was."""
        name = _name(env, generation_id)
        directory = self._directory(env, generation_id) if name in self._memory else None
        if directory is None:
            return None
        with contextlib.suppress(OSError, UvnasError):
            status = os.lstat(self._layout.manifest(env, generation_id))
            text = _text(self._memory, name, stamp_of(directory) + stamp_of(status))
            if text is not None:
                self._to_remember[name] = self._memory[name]
                return manifests.in_content(text.encode(), self._layout, env, generation_id), status
        return None

    def _directory(self, env: str, generation_id: str) -> t.Optional[os.stat_result]:
        """The status of a generation's directory, once all directories on the way to it have been asked for."""
        if self._generations is None:
            return None
        every = opened(self._layout.generations_of(env))
        with contextlib.suppress(OSError), every as above, opened(generation_id, above) as here:
            return os.fstat(here)
        return None

    @functools.cached_property
    def _generations(self) -> t.Optional[os.stat_result]:
        return _asked(self._layout.generations)

    def last_manifest(self, env: str, generation_id: str) -> t.Optional[Manifest]:
        """The manifest that a generation had when it was looked at the last time; None if nobody knows."""
        name = _name(env, generation_id)
        with contextlib.suppress(UvnasError):
            if name in self._memory:
                self._to_remember[name] = self._memory[name]
                return manifests.in_content(self._memory[name].text.encode(), self._layout, env, generation_id)
        return None

    def to_remember(self) -> dict[str, Read]:
        """What has been looked at, and can be known for unchanged the next time."""
        found = dict(self._to_remember)
        ids = {env: (self._links or self._ids).get(env) for env in self.environments}
        if self._envs is not None and is_old(self._envs, self._now) and all(ids.values()):
            found[_LINKS] = Read(stamp_of(self._envs), json.dumps(ids))
        return found

    def _keep(self, name: str, content: bytes, *statuses: os.stat_result) -> None:
        """Remember what was read, if whoever changes it from now on leaves a trace."""
        if len(content) > _LONGEST or not all(is_old(status, self._now) for status in statuses):
            return
        with contextlib.suppress(UnicodeDecodeError):
            stamp = [number for status in statuses for number in stamp_of(status)]
            self._to_remember[name] = Read(stamp, content.decode())


def _asked(directory: str) -> t.Optional[os.stat_result]:
    with contextlib.suppress(OSError), opened(directory) as descriptor:
        return os.fstat(descriptor)
    return None


def _name(env: str, generation_id: str) -> str:
    return f"{env}/{generation_id}"


def _text(memory: Memory, name: str, stamp: Stamp) -> t.Optional[str]:
    """What was read, if it still has the same stamp."""
    read = memory.get(name)
    return read.text if read is not None and read.stamp == stamp else None
