# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv's lists of downloads: the one that it prints, and the one that it is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.python.sources import parse_downloads, site_entry
from ansible_collections.uvnas.cluster.plugins.module_utils.python.version import Version

# What `uv python list --only-downloads --all-versions --output-format json` printed, by version of uv; shortened.
LISTS = json.loads((Path(__file__).parent / "golden" / "uv_python_list.json").read_text(encoding="utf-8"))
SHA = "0a" * 32


@pytest.mark.parametrize("version", sorted(LISTS))
def test_only_final_cpython_is_offered(version: str) -> None:
    found = parse_downloads(json.dumps(LISTS[version]))
    versions = sorted((Version.of_key(key) for key in found), reverse=True)
    assert [str(version) for version in versions[:3]] == ["3.15.2t", "3.15.2", "3.15.1t"]
    assert [str(version) for version in versions if version.minor == "3.12"] == [
        f"3.12.{patch}" for patch in (16, 15, 14, 13, 12, 11, 10)
    ]
    assert {"3.16.0", "3.12.0"}.isdisjoint(map(str, versions))
    assert all(download.key == key and download.url for key, download in found.items())


@pytest.mark.parametrize(
    ("version", "target", "variant"),
    [("3.12.4", "x86_64-gnu", None), ("3.13.1t", "aarch64-gnu", "freethreaded"), ("3.11.9", "x86_64-musl", None)],
)
def test_an_entry_for_uv(version: str, target: str, variant: str | None) -> None:
    entry = site_entry(Version.parse(version).key(target), "/mnt/nas a/uv/x.tar.gz", SHA)
    machine, libc = target.split("-")
    assert entry["arch"] == {"family": machine, "variant": None}
    assert (entry["libc"], entry["variant"], entry["sha256"]) == (libc, variant, SHA)
    assert f"{entry['major']}.{entry['minor']}.{entry['patch']}" == version.rstrip("t")
    assert entry["url"] == "file:///mnt/nas%20a/uv/x.tar.gz"
