# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A generation is put back in force and held, or released, on real files."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env import past
from ansible_collections.uvnas.cluster.plugins.module_utils.env.converge import Environments
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import publish
from ansible_collections.uvnas.cluster.plugins.module_utils.env.hold import PUBLISHED, RELEASED, Holding
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import ShareBusyError, SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import mutex
from ansible_collections.uvnas.cluster.plugins.module_utils.share import journal as journals
from ansible_collections.uvnas.cluster.plugins.module_utils.share import standing, store
from ansible_collections.uvnas.cluster.plugins.module_utils.share.journal import Author
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.plugins.module_utils.share.standing import Hold
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Uv
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.unit.fake_uv import FakeUv

ALICE = Author("alice", "ctl1")
ENV = EnvironmentSpec("train", python="3.12", requirements=("iniconfig",))


@dataclasses.dataclass(frozen=True)
class Life:
    """A share with the environment train, of which three generations were in force, one after the other."""

    layout: Layout
    ids: tuple[str, str, str]

    def holding(self, **more: t.Any) -> Holding:
        given = {"env": "train", "author": ALICE, **more}
        return Holding(Share("nas_a", self.layout), Uv(self.layout, FakeUv()), **given)

    def hold(self, **more: t.Any) -> dict[str, t.Any]:
        return self.holding(**more).converge(purpose="test", busy_timeout=5.0)

    def release(self, **more: t.Any) -> dict[str, t.Any]:
        return self.hold(state=RELEASED, **more)

    def site(self) -> dict[str, t.Any]:
        """What site.yml does of what was declared last."""
        environments = Environments(Share("nas_a", self.layout), Uv(self.layout, FakeUv()), [ENV])
        return environments.converge(purpose="test", busy_timeout=5.0)

    @property
    def in_force(self) -> str | None:
        return store.published(self.layout, "train")

    @property
    def known(self) -> standing.Standing:
        return standing.read(self.layout, "train")

    def told(self) -> list[tuple[str, str | None, str]]:
        return [(entry.action, entry.generation, entry.why) for entry in journals.read(self.layout)]

    def files(self) -> list[str]:
        return sorted(str(path) for path in Path(self.layout.root).rglob("*"))

    def remove(self, generation_id: str) -> None:
        path = self.layout.generation("train", generation_id)
        subprocess.run(["chmod", "-R", "u+w", path], check=True)
        shutil.rmtree(path)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    shares.add_interpreter(shares.make_share(tmp_path))
    layout = Layout(str(tmp_path))
    found = Life(layout, ("", "", ""))
    ids = []
    for digit in "456":
        shares.add_lock(tmp_path, "train", f"iniconfig==2.1 \\\n    --hash=sha256:{digit * 64}\n")
        ids.append(str(found.site()["environments"][0]["id"]))
    os.unlink(layout.journal)
    return dataclasses.replace(found, ids=(ids[0], ids[1], ids[2]))


def test_the_one_before_is_put_in_force_and_held(life: Life) -> None:
    predicted = life.hold(reason="too slow", check_mode=True)
    assert (life.in_force, life.known.hold, life.told()) == (life.ids[2], None, [])
    done = life.hold(reason="too slow")
    assert (life.in_force, life.known.in_force) == (life.ids[1], life.ids[1])
    hold = life.known.hold
    assert hold == Hold(life.ids[1], hold.since if hold else "", "alice on ctl1", "too slow")
    assert (done["changed"], done["id"], done["previous_id"], done["complete"]) == (
        True,
        life.ids[1],
        life.ids[2],
        True,
    )
    assert (done["held"], done["was_held"]) == (dataclasses.asdict(hold), None)
    same = ("changed", "id", "previous_id", "complete", "packages_changed", "was_held")
    assert {key: predicted[key] for key in same} == {key: done[key] for key in same}
    assert done["diff"] == [{"prepared": f"environment train: {hold}\n"}]
    assert life.told() == [
        ("hold", life.ids[1], "too slow"),
        ("publish", life.ids[1], "too slow"),
        ("retire", life.ids[2], "too slow"),
    ]
    assert not life.site()["changed"]
    assert life.in_force == life.ids[1]


def test_a_second_one_goes_back_further_and_stays_at_the_first(life: Life) -> None:
    life.hold()
    assert life.hold()["id"] == life.in_force == life.ids[0]
    again = life.hold()
    assert (again["changed"], again["id"], life.in_force) == (False, life.ids[0], life.ids[0])


def test_without_any_before_there_is_nothing_to_go_back_to(life: Life) -> None:
    life.hold(generation=life.ids[0])
    life.release()
    with pytest.raises(UvnasError, match=f"nothing on record was in force before {life.ids[0]} on share nas_a"):
        life.hold()


def test_a_rollback_that_was_killed_goes_on_and_not_back_further(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between link and record. Whoever saw it fail does it again."""

    def killed(*_given: t.Any, **_more: t.Any) -> t.NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(publish, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            life.hold(reason="too slow")
    assert (life.in_force, life.known.in_force) == (life.ids[1], life.ids[2])
    assert life.hold(reason="too slow")["id"] == life.ids[1]
    assert (life.in_force, life.known.in_force) == (life.ids[1], life.ids[1])
    assert life.known.generations[life.ids[2]].retired is not None


def test_the_next_run_ends_one_that_was_killed(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_given: t.Any, **_more: t.Any) -> t.NoReturn:
        raise KeyboardInterrupt

    for name in ("replace_symlink", "record"):
        with monkeypatch.context() as patched:
            patched.setattr(publish.files if name == "replace_symlink" else publish, name, killed)
            with pytest.raises(KeyboardInterrupt):
                life.hold(generation=life.ids[0])
        assert life.site()["changed"]
        hold = life.known.hold
        assert hold is not None
        assert (life.in_force, life.known.in_force, hold.id) == (life.ids[0], life.ids[0], life.ids[0])
        assert not life.site()["changed"]
        life.release()
        life.site()
        assert life.in_force == life.ids[2]


def test_one_by_the_beginning_of_its_id(life: Life) -> None:
    short = life.ids[0][:8]
    assert life.hold(generation=short)["id"] == life.in_force == life.ids[0]
    assert life.hold(generation=short)["changed"] is False


@pytest.mark.parametrize("generation", ["zzz", "../../envs/train", "*", "\ud800"])
def test_one_that_is_not_there(life: Life, generation: str) -> None:
    before = life.files()
    with pytest.raises(UvnasError, match="environment train has no generation") as raised:
        life.hold(generation=generation)
    assert ", ".join(reversed(life.ids)) in raised.value.hint
    assert life.files() == before


@pytest.mark.parametrize("env", ["", "../x", "a/b", ".hidden", "x" * 65, "a\nb"])
def test_what_cannot_be_an_environment(life: Life, env: str) -> None:
    before = life.files()
    with pytest.raises(SpecError, match="the name"):
        life.hold(env=env)
    assert life.files() == before


def test_an_environment_that_is_not_there(life: Life) -> None:
    for state in ("held", "released"):
        with pytest.raises(UvnasError, match="environment trian is not published on share nas_a") as raised:
            life.hold(env="trian", state=state)
        assert raised.value.hint == "It has train."


def test_another_reason_is_another_hold(life: Life) -> None:
    life.hold(generation=life.ids[1], reason="too slow")
    first = life.known.hold
    assert not life.hold(generation=life.ids[1])["changed"]
    assert not life.hold(generation=life.ids[1], reason=" too\nslow ")["changed"]
    assert life.known.hold == first
    assert life.hold(generation=life.ids[1], reason="wrong results")["changed"]
    assert life.known.hold != first
    assert life.in_force == life.ids[1]


def test_what_is_in_force_can_be_held_too(life: Life) -> None:
    done = life.hold(generation=life.ids[2], reason="a paper")
    assert (done["changed"], done["id"], done["previous_id"]) == (True, life.ids[2], life.ids[2])
    assert life.told() == [("hold", life.ids[2], "a paper")]


def test_a_release_changes_nothing_but_that(life: Life) -> None:
    life.hold()
    predicted = life.release(check_mode=True)
    assert (predicted["changed"], life.known.hold is None) == (True, False)
    done = life.release(reason="fixed")
    assert (done["changed"], done["held"], done["was_held"]["id"]) == (True, None, life.ids[1])
    assert (life.in_force, life.known.hold) == (life.ids[1], None)
    assert life.told()[-1] == ("release", life.ids[1], "fixed")
    assert not life.release()["changed"]
    assert life.site()["environments"][0]["action"] == "publish"
    assert life.in_force == life.ids[2]


@pytest.mark.parametrize("state", ["held", "released"])
def test_what_its_declaration_holds_is_left_alone(life: Life, state: str) -> None:
    standing.write(life.layout, "train", life.known.held(Hold(life.ids[2], standing.now(), declared=True)))
    before = life.files()
    with pytest.raises(UvnasError, match="by its declaration on share nas_a") as raised:
        life.hold(state=state)
    assert raised.value.hint == "Change or remove its hold in uvnas_envs, and run site.yml."
    assert life.files() == before


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("zu langsam: Größe ≥ 3 µs 🐌", "zu langsam: Größe ≥ 3 µs 🐌"),
        ("see https://alice:s3cret@git.example/issues/3", "see https://****@git.example/issues/3"),
        ("two\nlines", "two lines"),
        ("not \udcff UTF-8", "not ? UTF-8"),
        ("x" * 300, "x" * 300),
    ],
)
def test_a_reason_is_kept_as_it_may_be_shown(life: Life, reason: str, kept: str) -> None:
    done = life.hold(reason=reason)
    hold = life.known.hold
    assert hold is not None
    assert (hold.reason, done["held"]["reason"], {why for _action, _id, why in life.told()}) == (kept, kept, {kept})
    assert "s3cret" not in str(done)
    for path in (life.layout.journal, life.layout.standing("train")):
        assert b"s3cret" not in Path(path).read_bytes()
    assert not life.site()["changed"]


@pytest.mark.parametrize("state", ["held", "released"])
def test_a_reason_that_is_a_book(life: Life, state: str) -> None:
    life.hold()
    before = life.files()
    with pytest.raises(SpecError, match="reason: 100000 characters are too many"):
        life.hold(state=state, reason="x" * 100_000)
    assert (life.files(), life.in_force) == (before, life.ids[1])


def test_a_record_of_another_format_changes_nothing(life: Life) -> None:
    Path(life.layout.standing("train")).write_text('{"format": 2}', encoding="utf-8")
    for state in ("held", "released"):
        with pytest.raises(UvnasError, match="has format 2, not 1"):
            life.hold(state=state)
    assert life.in_force == life.ids[2]


def test_what_is_gone_is_built_again(life: Life) -> None:
    life.remove(life.ids[1])
    predicted = life.hold(check_mode=True)
    assert (predicted["complete"], predicted["id"], life.in_force) == (False, life.ids[1], life.ids[2])
    assert life.hold()["complete"] is False
    assert (life.in_force, os.path.exists(life.layout.manifest("train", life.ids[1]))) == (life.ids[1], True)
    assert life.told()[0] == ("build", life.ids[1], "rollback")
    assert life.site()["changed"] is False


def test_what_is_gone_while_in_force_is_absent_until_it_is_there_again(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.remove(life.ids[2])
    seen = []
    run = FakeUv.run

    def watched(self: FakeUv, cmd: t.Sequence[str], **more: t.Any) -> t.Any:
        seen.append(os.path.lexists(life.layout.env("train")))
        return run(self, cmd, **more)

    monkeypatch.setattr(FakeUv, "run", watched)
    assert life.hold(generation=life.ids[2])["changed"]
    assert (set(seen), life.in_force) == ({False}, life.ids[2])
    assert os.path.exists(life.layout.manifest("train", life.ids[2]))


def test_what_was_in_force_and_is_gone_is_in_no_rollback_s_way(life: Life) -> None:
    life.remove(life.ids[2])
    assert life.hold()["id"] == life.in_force == life.ids[1]


def test_what_cannot_be_had_is_named_and_nothing_changes(life: Life) -> None:
    life.remove(life.ids[1])
    shutil.rmtree(life.layout.lock_history)
    before = life.files()
    for check_mode in (True, False):
        with pytest.raises(UvnasError, match=f"its generation {life.ids[1]} is not on this share, and cannot be built"):
            life.hold(check_mode=check_mode)
    assert (life.files(), life.in_force, life.told()) == (before, life.ids[2], [])


def test_somebody_s_change_to_a_generation_is_seen(life: Life) -> None:
    site = Path(life.layout.generation("train", life.ids[1])) / "lib" / "python3.12" / "site-packages"
    site.chmod(0o755)
    (site / "evil-1.dist-info").mkdir()
    with pytest.raises(UvnasError, match="is not what was built: evil 1"):
        life.hold()
    assert life.in_force == life.ids[2]


def test_two_at_once_end_up_at_one(life: Life) -> None:
    context = multiprocessing.get_context("fork")
    given = {"generation": life.ids[0], "reason": "too slow"}
    both = [context.Process(target=life.hold, kwargs=given) for _number in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert [each.exitcode for each in both] == [0, 0]
    assert [action for action, _id, _why in life.told()] == ["hold", "publish", "retire"]


def test_while_somebody_else_is_at_work_nothing_changes(life: Life) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()

    def work() -> None:
        with mutex.hold(life.layout.mutex, timeout=5.0, purpose="site.yml"):
            ready.set()
            done.wait(60)

    other = context.Process(target=work)
    other.start()
    ready.wait(60)
    try:
        with pytest.raises(ShareBusyError, match=r"site\.yml"):
            life.holding().converge(purpose="test", busy_timeout=0.0)
    finally:
        done.set()
        other.join()
    assert (life.in_force, life.known.hold) == (life.ids[2], None)


def test_packages_that_change(life: Life) -> None:
    assert past.versions(life.layout, "train", life.ids[0]) == {"iniconfig": "2.1"}
    shares.add_generation(Path(life.layout.root), "train", "0123456789ab", packages={"iniconfig": "2.0", "six": "1"})
    done = life.hold(generation="0123456789ab")
    assert done["packages_changed"] == ["iniconfig 2.1 -> 2.0", "six 1 (new)"]
    assert done["diff"][0]["prepared"].endswith("\n  iniconfig 2.1 -> 2.0\n  six 1 (new)\n")
    assert list(journals.read(life.layout)[1].packages_changed) == done["packages_changed"]


# What has been tried on hosts


def built_to_be_tried(life: Life) -> str:
    """A generation beside what is in force. Its id."""
    lock = f"iniconfig==2.1 \\\n    --hash=sha256:{'7' * 64}\n"
    shares.add_lock(Path(life.layout.root), "train", lock)
    spec = dataclasses.replace(ENV, try_on={"hosts": ["gpu1"]})
    environments = Environments(Share("nas_a", life.layout), Uv(life.layout, FakeUv()), [spec])
    (fact,) = environments.converge(purpose="test", busy_timeout=5.0)["environments"]
    assert (fact["awaits"], life.in_force) == (True, life.ids[2])
    return str(fact["declared_id"])


def test_what_has_been_tried_is_published_and_not_held(life: Life) -> None:
    tried = built_to_be_tried(life)
    os.unlink(life.layout.journal)
    for changed in (True, False):
        done = life.hold(state=PUBLISHED, generation=tried, reason="tried on gpu1")
        assert (done["changed"], done["id"], done["held"], life.in_force) == (changed, tried, None, tried)
    assert life.told() == [("publish", tried, "tried on gpu1"), ("retire", life.ids[2], "tried on gpu1")]
    assert (life.known.in_force, life.known.hold) == (tried, None)
    assert not life.site()["changed"]


def test_what_was_tried_meanwhile_is_not_published_where_something_else_counts_by_now(life: Life) -> None:
    tried = built_to_be_tried(life)

    def refused(why: str) -> None:
        before = life.files()
        with pytest.raises(UvnasError, match=why):
            life.hold(state=PUBLISHED, generation=tried)
        assert (life.in_force, life.files()) == (life.ids[2], before)

    # A generation that was declared before is not what is declared.
    with pytest.raises(UvnasError, match="a different declaration"):
        life.hold(state=PUBLISHED, generation=life.ids[1])
    standing.write(life.layout, "train", life.known.held(Hold(life.ids[2], standing.now(), "alice")))
    refused("so what has been tried is not published")
    standing.write(life.layout, "train", life.known.held(None))
    shares.add_lock(Path(life.layout.root), "train", f"iniconfig==2.1 \\\n    --hash=sha256:{'8' * 64}\n")
    refused("a different declaration")
    life.remove(tried)
    refused("is not on share nas_a")


def test_what_has_been_removed_meanwhile_does_not_come_back(life: Life) -> None:
    tried = built_to_be_tried(life)
    spec = dataclasses.replace(ENV, state="absent")
    Environments(Share("nas_a", life.layout), Uv(life.layout, FakeUv()), [spec]).converge(
        purpose="test", busy_timeout=5.0
    )
    with pytest.raises(UvnasError, match="has no lock on this share"):
        life.hold(state=PUBLISHED, generation=tried)
    assert (life.in_force, life.known.in_force) == (None, None)
