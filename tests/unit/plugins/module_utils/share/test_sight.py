# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a memory of a share spares, and that it hides nothing, on real files."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files, stamps
from ansible_collections.uvnas.cluster.plugins.module_utils.share import sight as module
from ansible_collections.uvnas.cluster.plugins.module_utils.share import store
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.sight import Memory, Read, Sight
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.tests.support import shares, unprivileged

ID, OTHER = "0123456789ab", "ba9876543210"
NAMES = ["analysis", "train"]
# What a look finds: the id of the share; and of each environment its generation, and when that was built.
Found = tuple[str, dict[str, tuple[t.Any, t.Any]]]


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    root = shares.make_share(tmp_path / "uv")
    for name in NAMES:
        shares.add_generation(root, name, ID)
        shares.publish(root, name, ID)
    monkeypatch.setattr(stamps, "_YOUNG", -1000.0)  # All of it is old.
    return Layout(str(root))


def look(layout: Layout, *memories: Memory) -> tuple[Found, dict[str, Read]]:
    """What there is, and what to remember of it, by way of plain JSON."""
    sight = Sight(Share("nas_a", layout), memories)
    share_id, environments = sight.identity.id, {}
    for name in sight.environments:
        current = sight.published(name)
        found = sight.manifest(name, current) if current else None
        environments[name] = (current, found[0].created if found else None)
    data = json.loads(json.dumps({name: dataclasses.asdict(read) for name, read in sight.to_remember().items()}))
    return (share_id, environments), {name: Read(**each) for name, each in data.items()}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is read from now on, in order; the test may empty it."""
    found: list[str] = []

    def noting(place: t.Any, name: str, what: t.Callable[..., str]) -> None:
        real = getattr(place, name)

        def noted(*args: t.Any) -> t.Any:
            found.append(what(*args))
            return real(*args)

        monkeypatch.setattr(place, name, noted)

    noting(files, "read_bytes", os.path.basename)
    noting(files, "read_with_status", lambda path: path.split("/")[-3])
    noting(store, "environments", lambda _layout: "envs")
    noting(store, "published", lambda _layout, env: f"link {env}")
    return found


ALL = ["share.json", "envs", "link analysis", "analysis", "link train", "train"]


def test_what_has_not_changed_is_not_read_again(layout: Layout, reads: list[str]) -> None:
    first, memory = look(layout)
    assert reads == ALL
    reads.clear()
    again, later = look(layout, memory)
    assert (again, reads) == (first, [])
    assert later == memory
    assert look(layout, later) == (first, memory)


def replaced(path: Path, text: str) -> None:
    """Replace a file by another one of the same size, with the same times and mode, as cp -p would."""
    before = path.stat()
    new = path.with_name("new")
    new.write_text(text.ljust(before.st_size))
    assert new.stat().st_size == before.st_size
    os.chmod(new, stat.S_IMODE(before.st_mode))
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.rename(new, path)


def another(env: str, created: str) -> str:
    return json.dumps(shares.manifest(env, ID, created=created))


LATER = "2026-02-28T12:00:00+00:00"


def manifest_replaced(layout: Layout) -> None:
    replaced(Path(layout.manifest("train", ID)), another("train", LATER))


def manifest_replaced_in_the_inode_that_became_free(layout: Layout) -> None:
    path = Path(layout.manifest("train", ID))
    before = path.stat()
    path.unlink()
    path.write_text(another("train", LATER))
    path.chmod(0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def manifest_written_into(layout: Layout) -> None:
    path = Path(layout.manifest("train", ID))
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+") as file:
        file.write(another("train", LATER))
    path.chmod(0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, before.st_size)


def generation_rebuilt(layout: Layout) -> None:
    shutil.rmtree(layout.generation("train", ID))
    shares.add_generation(Path(layout.root), "train", ID, created=LATER)


def generation_moved_aside(layout: Layout) -> None:
    os.rename(layout.generation("train", ID), f"{layout.root}/aside")
    shares.add_generation(Path(layout.root), "train", ID, created=LATER)


def all_generations_moved_aside(layout: Layout) -> None:
    os.rename(layout.generations_of("train"), f"{layout.root}/aside")
    shares.add_generation(Path(layout.root), "train", ID, created=LATER)


def another_published(layout: Layout) -> None:
    shares.add_generation(Path(layout.root), "train", OTHER, created=LATER)
    new = Path(layout.envs) / "new"
    before = os.stat(layout.envs)
    new.symlink_to(f"../generations/train/{OTHER}")
    os.rename(new, layout.env("train"))
    os.utime(layout.envs, ns=(before.st_atime_ns, before.st_mtime_ns))


def the_one_before_published_again(layout: Layout) -> None:
    another_published(layout)
    shares.publish(Path(layout.root), "train", ID)
    manifest_replaced(layout)


@pytest.mark.parametrize(
    "change",
    [
        *(manifest_replaced, manifest_replaced_in_the_inode_that_became_free, manifest_written_into),
        *(generation_rebuilt, generation_moved_aside, all_generations_moved_aside),
        *(another_published, the_one_before_published_again),
    ],
)
def test_what_has_changed_is_read(layout: Layout, reads: list[str], change: t.Callable[[Layout], None]) -> None:
    """Whatever anybody did to its size and its times. ctime is the filesystem's."""
    first, memory = look(layout)
    assert first[1]["train"] == (ID, "2026-01-31T12:00:00+00:00")
    change(layout)
    reads.clear()
    second, later = look(layout, memory)
    assert second[1]["train"][1] == LATER
    assert second[1]["analysis"] == first[1]["analysis"]
    assert "analysis" not in reads
    reads.clear()
    assert (look(layout, later)[0], reads) == (second, [])


def test_what_is_not_there_any_more_is_not(layout: Layout) -> None:
    _first, memory = look(layout)
    os.unlink(layout.manifest("train", ID))
    assert look(layout, memory)[0][1]["train"] == (ID, None)
    shutil.rmtree(layout.generations_of("train"))
    assert look(layout, memory)[0][1]["train"] == (ID, None)
    os.unlink(layout.env("train"))
    assert sorted(look(layout, memory)[0][1]) == ["analysis"]
    assert Sight(Share("nas_a", layout), [memory]).published("train") is None
    shutil.rmtree(layout.envs)
    assert look(layout, memory)[0][1] == {}


def test_what_a_client_believes_to_be_missing_is_looked_for_once_more(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then it has been asked for what is in there."""
    missing, read = [layout.manifest("train", ID)], files.read_with_status

    def believing(path: str) -> tuple[bytes, os.stat_result] | None:
        if path in missing:
            missing.remove(path)
            return None
        return read(path)

    monkeypatch.setattr(files, "read_with_status", believing)
    assert look(layout)[0][1]["train"] == (ID, "2026-01-31T12:00:00+00:00")


def test_a_new_one_is_seen(layout: Layout, reads: list[str]) -> None:
    _first, memory = look(layout)
    shares.add_generation(Path(layout.root), "new", ID)
    shares.publish(Path(layout.root), "new", ID)
    reads.clear()
    assert sorted(look(layout, memory)[0][1]) == ["analysis", "new", "train"]
    assert [name for name in reads if not name.startswith("link")] == ["envs", "new"]


@pytest.mark.parametrize("foreign", ["/etc", "../generations/analysis/0123456789ab", "directory"])
def test_a_link_that_leads_elsewhere_is_an_error_every_time(layout: Layout, foreign: str) -> None:
    _first, memory = look(layout)
    os.unlink(layout.env("train"))
    if foreign == "directory":
        os.mkdir(layout.env("train"))
    else:
        os.symlink(foreign, layout.env("train"))
    for _time in range(2):
        sight = Sight(Share("nas_a", layout), [memory])
        assert sight.identity
        assert sight.environments == NAMES
        with pytest.raises(UvnasError, match="train.* (points to|is not a symlink)"):
            sight.published("train")
        memory = sight.to_remember()


def test_a_damaged_manifest_is_an_error_every_time(layout: Layout) -> None:
    _first, memory = look(layout)
    replaced(Path(layout.manifest("train", ID)), "{")
    for _time in range(2):
        sight = Sight(Share("nas_a", layout), [memory])
        assert sight.identity
        with pytest.raises(UvnasError, match="is not valid JSON"):
            sight.manifest("train", ID)
        memory = sight.to_remember()


# Which share


def test_another_share_in_its_place(layout: Layout, reads: list[str]) -> None:
    """Nothing that is known of the one before counts, even where everything else is as it was."""
    first, memory = look(layout)
    other = first[0].replace("6", "7")
    replaced(Path(layout.identity), json.dumps({"layout": 1, "name": "nas_a", "id": other}))
    reads.clear()
    assert (look(layout, memory)[0], reads) == ((other, first[1]), ALL)


def test_a_share_of_another_name(layout: Layout) -> None:
    _first, memory = look(layout)
    with pytest.raises(UvnasError, match="is the share nas_a, not nas_b"):
        assert Sight(Share("nas_b", layout), [memory]).identity
    with pytest.raises(UvnasError, match="its id is"):
        assert Sight(Share("nas_a", layout, id="1" * 8 + shares.SHARE_ID[8:]), [memory]).identity
    replaced(Path(layout.identity), json.dumps({"layout": 1, "name": "nas_b", "id": shares.SHARE_ID}))
    with pytest.raises(UvnasError, match="is the share nas_b, not nas_a"):
        look(layout, memory)
    os.unlink(layout.identity)
    with pytest.raises(UvnasError, match="is not a share"):
        look(layout, memory)
    shutil.rmtree(layout.root)
    with pytest.raises(UvnasError, match="is not a share"):
        look(layout, memory)


def test_a_copy_of_the_share_is_read(layout: Layout, reads: list[str], tmp_path: Path) -> None:
    """As ``cp -a`` makes one. It has the same id; but who knows what became of it."""
    first, memory = look(layout)
    os.rename(layout.root, tmp_path / "original")
    shutil.copytree(tmp_path / "original", layout.root, symlinks=True)
    reads.clear()
    assert (look(layout, memory)[0], reads) == (first, ALL)


def test_of_several_memories_that_of_this_share_counts(layout: Layout, reads: list[str]) -> None:
    first, memory = look(layout)
    foreign = {**memory, "identity": Read([1], memory["identity"].text), "links": Read([1], "{}")}
    reads.clear()
    assert (look(layout, foreign, memory, {})[0], reads) == (first, [])


def test_a_share_json_that_is_a_symlink_is_what_it_leads_to(layout: Layout) -> None:
    other = Path(layout.root) / "elsewhere.json"
    os.rename(layout.identity, other)
    os.symlink("elsewhere.json", layout.identity)
    first, memory = look(layout)
    assert look(layout, memory)[0] == first
    replaced(other, json.dumps({"layout": 1, "name": "nas_a", "id": first[0].replace("6", "7")}))
    assert look(layout, memory)[0][0] != first[0]


# What is remembered


def test_what_is_young_is_not_remembered(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that counts in seconds could give a stamp twice."""
    monkeypatch.setattr(stamps, "_YOUNG", 2.0)
    assert look(layout)[1] == {}
    for path in Path(layout.root).rglob("*"):  # Now it is younger still.
        os.utime(path, ns=(0, 0), follow_symlinks=False)
    assert look(layout)[1] == {}
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 10)
    assert sorted(look(layout)[1]) == [f"analysis/{ID}", "identity", "links", f"train/{ID}"]
    monkeypatch.setattr(module.time, "time", lambda: now - 10)  # The clock was set back.
    assert look(layout)[1] == {}


def test_a_clock_that_was_set_back_makes_nothing_true(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    _first, memory = look(layout)
    monkeypatch.setattr(module.time, "time", lambda: 0.0)
    manifest_written_into(layout)
    assert look(layout, memory)[0][1]["train"] == (ID, LATER)


def test_links_are_remembered_all_or_none(layout: Layout) -> None:
    sight = Sight(Share("nas_a", layout))
    assert sight.identity
    assert sight.published("train") == ID
    assert "links" not in sight.to_remember()
    assert sight.published("analysis") == ID
    assert "links" in sight.to_remember()


def test_what_was_looked_for_in_vain_is_no_link(layout: Layout, reads: list[str]) -> None:
    sight = Sight(Share("nas_a", layout))
    assert sight.identity
    assert sight.published("missing") is None
    assert [sight.published(name) for name in sight.environments] == [ID, ID]
    memory = sight.to_remember()
    assert json.loads(memory["links"].text) == dict.fromkeys(NAMES, ID)
    reads.clear()
    again = Sight(Share("nas_a", layout), [memory])
    assert again.identity
    assert ([again.published(name) for name in (*NAMES, "missing")], reads) == ([ID, ID, None], [])


def test_what_is_published_during_a_look_is_seen_by_the_next(layout: Layout) -> None:
    sight = Sight(Share("nas_a", layout))
    assert sight.identity
    assert [sight.published(name) for name in sight.environments] == [ID, ID]
    another_published(layout)
    memory = sight.to_remember()
    assert look(layout, memory)[0][1]["train"] == (OTHER, LATER)


@pytest.mark.parametrize("content", [b"\xff\xfe{\0}\0", b" " * (1 << 18)])
def test_what_is_too_long_or_no_text_is_not_remembered(layout: Layout, content: bytes) -> None:
    path = Path(layout.manifest("train", ID))
    text = another("train", LATER)
    path.chmod(0o644)
    path.write_bytes(text.encode("utf-16") if content[0] else content + text.encode())
    found, memory = look(layout)
    assert found[1]["train"] == (ID, LATER) or content[0]
    assert f"train/{ID}" not in memory or content[0] == 0
    assert look(layout, memory)[0] == found


DAMAGES: dict[str, t.Callable[[Read], Read]] = {
    "no stamp": lambda read: Read([], read.text),
    "longer": lambda read: Read([*read.stamp, 1], read.text),
    "a number": lambda read: dataclasses.replace(read, stamp=t.cast(t.Any, 17)),
    "empty": lambda read: Read(read.stamp, ""),
    "half": lambda read: Read(read.stamp, read.text[: len(read.text) // 2]),
    "a list": lambda read: Read(read.stamp, "[]"),
    "deep": lambda read: Read(read.stamp, "[" * 100000),
    "deep object": lambda read: Read(read.stamp, '{"a":' * 100000),
    "numbers": lambda read: Read(read.stamp, '{"train": 1, "layout": 1}'),
}


@pytest.mark.parametrize("name", [f"train/{ID}", "links", "identity"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_memory_is_read_anew(layout: Layout, name: str, damage: str) -> None:
    first, memory = look(layout)
    assert look(layout, {**memory, name: DAMAGES[damage](memory[name])})[0] == first


def test_a_memory_of_one_generation_is_none_of_another(layout: Layout) -> None:
    first, memory = look(layout)
    mixed = {**memory, f"train/{ID}": Read(memory[f"train/{ID}"].stamp, memory[f"analysis/{ID}"].text)}
    assert look(layout, mixed)[0] == first


@pytest.mark.parametrize("directory", ["", "envs", "generations", "generations/train", f"generations/train/{ID}"])
def test_where_a_directory_cannot_be_listed_it_is_read(layout: Layout, directory: str) -> None:
    """It is enough that its names can be looked up."""
    first, memory = look(layout)
    place = unprivileged.give(Path(layout.root)) / directory
    place.chmod(0o311)

    def work() -> Found:
        sight = Sight(Share("nas_a", layout), [memory])
        environments = {}
        for name in NAMES:
            current = sight.identity and sight.published(name)
            found = sight.manifest(name, current) if current else None
            environments[name] = (current, found[0].created if found else None)
        return sight.identity.id, environments

    try:
        assert unprivileged.done(work) == first
    finally:
        place.chmod(0o755)


# What nobody needs


def test_the_last_manifest_of_what_nobody_needs_will_do(layout: Layout, reads: list[str]) -> None:
    _first, memory = look(layout)
    manifest_replaced(layout)
    reads.clear()
    sight = Sight(Share("nas_a", layout), [memory])
    assert sight.identity
    last = sight.last_manifest("train", ID)
    assert last is not None
    assert (last.created, reads) == ("2026-01-31T12:00:00+00:00", [])
    assert sight.last_manifest("train", OTHER) is None
    # Whoever needs it then has the one that is there.
    kept = sight.to_remember()
    assert look(layout, kept)[0][1]["train"] == (ID, LATER)
