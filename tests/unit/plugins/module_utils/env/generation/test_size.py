# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What trees take: their own, and what they share by hard links. Reflinks: tests/integration/test_reflinks.py."""

from __future__ import annotations

import stat
from pathlib import Path

from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation.size import freed, seal, true_size
from ansible_collections.uvnas.cluster.plugins.module_utils.share.manifest import Size


def test_sealing(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "cache"
    (tree / "lib").mkdir(parents=True)
    (tree / "own").write_bytes(b"x" * 10)
    outside.write_bytes(b"x" * 100)
    (tree / "lib" / "linked").hardlink_to(outside)
    (tree / "link").symlink_to("/nowhere")
    for path in (tree, tree / "lib", tree / "own"):
        path.chmod(0o777)
    assert seal(str(tree)) == Size(files=2, bytes=110, own_bytes=10, inodes=3)
    modes = [stat.S_IMODE((tree / name).stat().st_mode) for name in (".", "lib", "own")]
    assert modes == [0o755, 0o555, 0o755]  # The top is sealed when the manifest is in it.


def test_true_sizes_tell_what_is_linked_from_elsewhere(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "cache"
    tree.mkdir()
    outside.write_bytes(b"x" * 100_000)
    (tree / "linked").hardlink_to(outside)
    (tree / "own").write_bytes(b"x" * 50_000)
    (tree / "twice").hardlink_to(tree / "own")
    sizes = true_size(str(tree))
    assert sizes["bytes"] == 200_000
    assert sizes["shared_bytes"] == outside.stat().st_blocks * 512
    own = (tree / "own").stat().st_blocks * 512
    assert sizes["own_bytes"] == own  # The directory at the top is not counted, those below it are.


def test_what_comes_free_is_what_nothing_else_has(tmp_path: Path) -> None:
    trees, cache, stored = [tmp_path / "one", tmp_path / "two"], tmp_path / "cache", tmp_path / "stored"
    cache.write_bytes(b"x" * 100_000)
    stored.write_bytes(b"x" * 50_000)
    for tree in trees:
        (tree / "lib").mkdir(parents=True)
        (tree / "own").write_bytes(b"x" * 10_000)
        (tree / "cached").hardlink_to(cache)
    for tree in trees:
        (tree / "both").hardlink_to(trees[0] / "own")
    (trees[0] / "lib" / "one.pyc").hardlink_to(stored)  # The store keeps nothing that no generation has.
    own = [(tree / "own").stat().st_blocks * 512 for tree in trees]
    directories = [(tree / "lib").stat().st_blocks * 512 for tree in trees]
    compiled = stored.stat().st_blocks * 512
    paths = [str(tree) for tree in trees]
    assert freed(paths) == {"bytes": sum(own) + sum(directories) + compiled, "inodes": 4 + 2 + 1}
    # Of one alone, what the other one has too does not.
    assert freed(paths[:1]) == {"bytes": directories[0] + compiled, "inodes": 2 + 1}
    assert freed([str(tmp_path / "gone"), str(cache)]) == {"bytes": 0, "inodes": 0}
