# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a requirements line may hold, and what people write there that it cannot: each kind with what to do instead.

Judged by its looks, before anything is resolved or downloaded. Versions and markers are not examined here.
"""

from __future__ import annotations

import re
import typing as t

from ..host import secrets

# Options of pip that do not belong in a requirement, by all their names, and where what they say belongs here.
_PUBLISH = "publish it to an index, or put a wheel of it where uvnas_index.find_links looks"
_NEEDLESS = "leave it out"
_OPTIONS = {
    ("-r", "--requirement"): "name files in {key}_files",
    ("-c", "--constraint"): "name files in constraints_files",
    ("-i", "--index-url", "--pypi-url"): "set uvnas_index.default",
    ("--extra-index-url",): "set uvnas_index.extra",
    ("-f", "--find-links"): "set uvnas_index.find_links",
    ("--no-index",): "set uvnas_index",
    ("--trusted-host",): "set SSL_CERT_FILE (or UV_INSECURE_HOST) in uvnas_uv_variables",
    ("-e", "--editable"): f"local code is not installed; {_PUBLISH} (for a project's dependencies alone: project)",
    ("--pre",): 'ask for it in the requirement itself, such as "numpy>=2.5.0rc1"',
    ("--no-binary",): "list packages to build from source in the environment's no_binary",
    ("--only-binary", "--prefer-binary"): "leave it out: wheels are preferred, and what a build needs is locked",
    ("--require-hashes",): "leave it out: everything in a lock has hashes",
    ("--hash",): "it belongs to the requirement before it; end that line with a backslash",
}
_BY_OPTION = {name: advice for names, advice in _OPTIONS.items() for name in names}

_COMMENT = re.compile(r"(^|\s)#.*")
_VARIABLE = re.compile(r"\$\{[A-Za-z0-9_]+\}")
_VERSION_CONTROL = re.compile(r"(^|[\s@])(git|hg|svn|bzr)(\+[a-z]+:|:|@)", re.IGNORECASE)
# Where conda builds what it installs, as ``pip freeze`` in a conda environment says.
_OF_CONDA = re.compile(r"@\s*file:///\S*(conda|feedstock|croot|/work\b|/tmp/build/)")
# A requirement with an address: ``name @ address``, or the address alone.
_ADDRESS = re.compile(
    r"((?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*@\s*|(?=[A-Za-z][A-Za-z0-9+.-]*:))(?P<url>\S+)"
)
_PATH = re.compile(r"[./~\\]|[A-Za-z]:[\\/]|[^\s@;<>=!~(\[]*([/\\]|\.(whl|tar\.gz|zip|tgz)(\[|\s|\Z))")
# What uv 0.13 installs.
_ARCHIVE = re.compile(r"\.(whl|zip|tgz|tbz|tlz|txz|tar(\.(gz|bz2|lz|lzma|xz|zst))?)\Z", re.IGNORECASE)
_OPTION = re.compile(r"\s(--?[A-Za-z][\w-]*)")
_EXACT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^\]]*\])?\s*\(?\s*===?\s*[^\s;*,)]+\s*\)?\s*(;.*)?\Z")
_HASHES = {"sha256": 64, "sha384": 96, "sha512": 128}
_HASH = re.compile(r"\s--hash[= ]\s*(\S+)")


def without_comment(line: str) -> str:
    return _COMMENT.sub("", line).strip()


def split(line: str) -> tuple[str, list[str]]:
    """A requirement without the hashes that follow it, and those, as ``algorithm:digits``."""
    return _HASH.sub("", line).strip(), _HASH.findall(line)


def objection(line: str, key: str) -> t.Optional[str]:
    """What is wrong with ``line``, given under ``key`` (requirements, constraints, …), and what to do.

    None if nothing is, as far as that shows without reading versions and markers.
    """
    # uv and this collection disagree about what ends a line, so no line may hold anything that might.
    if not line.strip() or len(line.splitlines()) != 1:
        return f"{shown(line)} is not a requirement; each is one line"
    line = without_comment(line)
    if not line or line.endswith("\\"):
        return f"{shown(line)} is not a requirement; each is one line"
    if _VARIABLE.search(line):
        return (
            f"{shown(line)} names a variable, which is not expanded; write its value "
            "(credentials belong in a netrc file, indexes in uvnas_index)"
        )
    if secrets.has_credentials(line):
        return f"{shown(line)} contains credentials, which the lock would show to everybody; put them in a netrc file"
    if line.startswith("-"):
        return _of_option(line, key)
    requirement, hashes = split(line)
    option = _OPTION.search(requirement.partition(";")[0])
    if option:
        return f"{shown(line)} has the option {option[1][:40]}, which cannot be used here; leave it out"
    return _of_address(requirement) or _of_hashes(requirement, hashes)


def shown(line: str) -> str:
    """A line as messages show it: on one line, short, without credentials."""
    text = secrets.scrub(line)
    return repr(text if len(text) <= 120 else f"{text[:117]}...")


def _of_option(line: str, key: str) -> str:
    if _VERSION_CONTROL.search(line):
        return _of_version_control(line)
    if line.startswith("- "):
        return f"{shown(line)} is not a requirement; leave out the dash, this is not YAML"
    match = re.match(r"--?[A-Za-z][\w-]*", line)
    if match is None or len(match[0]) > 40:
        return f"{shown(line)} is not a requirement; each begins with the name of a package"
    name = match[0]
    if name not in _BY_OPTION and name[:2] in _BY_OPTION and not name.startswith("--"):
        name = name[:2]  # ``-rother.txt``
    advice = _BY_OPTION.get(name, _NEEDLESS).format(key=key)
    return f"{name} cannot be used here; {advice}"


def _of_address(requirement: str) -> t.Optional[str]:
    """What is wrong with a requirement that names where it comes from."""
    if _VERSION_CONTROL.search(requirement):
        return _of_version_control(requirement)
    match = _ADDRESS.match(requirement)
    url = match["url"] if match else ""
    name = ((match["name"] if match else "") or "name")[:80]
    if _OF_CONDA.search(requirement):
        return (
            f"{shown(requirement)} is where conda built it; write {name}==version instead "
            "(in a conda environment, use `pip list --format=freeze` rather than `pip freeze`)"
        )
    scheme = url.partition(":")[0].lower() if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", url) else ""
    if scheme == "file" or (match and not scheme) or (not match and _PATH.match(requirement)):
        return f"{shown(requirement)} is a local path, which builders may not have; {_PUBLISH}"
    if match is None:
        return None
    if scheme not in ("https", "http"):
        return f"{shown(requirement)} has an address that is neither https nor http; {_PUBLISH}"
    path = re.split(r"[?#]", url, maxsplit=1)[0]
    if not _ARCHIVE.search(path):
        space = "; put a space before the semicolon" if ";" in path else ""
        return f"{shown(requirement)} is not the address of a wheel or a source archive{space or '; name such a file'}"
    return None


def _of_version_control(line: str) -> str:
    return f"{shown(line)} comes from version control, which has no hash; {_PUBLISH}"


def _of_hashes(requirement: str, hashes: t.Sequence[str]) -> t.Optional[str]:
    for each in hashes:
        algorithm, _colon, digits = each.partition(":")
        if _HASHES.get(algorithm.lower()) != len(digits) or not re.fullmatch("[0-9a-fA-F]*", digits):
            return f"{shown(each)} is not a hash; write sha256: and 64 hexadecimal digits (or sha384, or sha512)"
    if hashes and not (_EXACT.match(requirement) or _ADDRESS.match(requirement)):
        return f"{shown(requirement)} has a hash, so it needs an exact version: name==version --hash=..."
    return None
