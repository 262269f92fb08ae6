# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps something from being pruned: members, jobs, other shares; hosts answer what they want."""

from __future__ import annotations

import copy
import datetime
import itertools
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.plugin_utils import pruning

SEEN = "__uvnas_prune_seen"
NOW = datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.UTC)
RETIRED = "2026-11-01T12:00:00+00:00"
ID, OTHER = "a" * 12, "b" * 12
KEY = "cpython-3.11.9-linux-x86_64-gnu"
NAME = f"train/{ID}"
HOSTS = ["dev1", "node1", "node2"]


def at(seconds: float, since: str = RETIRED) -> str:
    return (datetime.datetime.fromisoformat(since) + datetime.timedelta(seconds=seconds)).isoformat()


AFTER, BEFORE = at(3600), at(-3600)


def item(kind: str = "generation", name: t.Any = NAME, retired: t.Any = RETIRED, **more: t.Any) -> dict[str, t.Any]:
    return {"kind": kind, "name": name, "retired": retired, "aside": False, "wanted": "", **more}


def seen(*items: t.Any, share: str = "nas_a", **more: t.Any) -> dict[str, t.Any]:
    return {"candidates": list(items), "in_force": {}, "__uvnas_share": {"name": share}, **more}


def said(*uses: t.Any, **more: t.Any) -> dict[str, t.Any]:
    return {
        "uses": list(uses), "unread": [], "is_root": True, "cluster": None, "booted": "2026-01-01T00:00:00+00:00",
        **more,
    }  # fmt: skip


def use(**more: t.Any) -> dict[str, t.Any]:
    return {"pid": 7, "user": "alice", "command": "python", "job": "", "environment": "", "generation": "", **more}


def job(**more: t.Any) -> dict[str, t.Any]:
    return {"id": "4711", "user": "bob", "state": "PENDING", "submitted": BEFORE, "restarted": False, **more}


def queue(*jobs: t.Any, **more: t.Any) -> dict[str, t.Any]:
    return {"jobs": list(jobs), "is_root": True, "nodes": [], **more}


DECLARED: dict[str, t.Any] = {
    "work": [
        {"shares": [{"name": name, "root": "/mnt", "builder": "dev1", "environments": ["train"]}]}
        for name in ("nas_a",)
    ],
    "pruning": {"members": {"nas_a": HOSTS}, "without": [], "unseen": {}},
}


class Run:
    """A run in which nobody uses anything, but for what a test changes."""

    def __init__(self, *items: t.Any) -> None:
        self.declared = copy.deepcopy(DECLARED)
        self.hosts = list(HOSTS)
        self.hostvars: dict[str, dict[str, t.Any]] = {host: {pruning.USAGE: said()} for host in HOSTS}
        self.hostvars["dev1"][SEEN] = {"results": [seen(*(items or (item(),)))]}

    def says(self, host: str, *uses: t.Any, **more: t.Any) -> Run:
        self.hostvars[host][pruning.USAGE] = said(*uses, **more)
        return self

    def silent(self, host: str, answer: t.Any = None) -> Run:
        self.hostvars[host][pruning.USAGE] = answer or {"unreachable": True, "msg": "no route"}
        return self

    def slurm(self, *jobs: t.Any, on: str = "dev1", cluster: t.Any = "c1", **more: t.Any) -> Run:
        self.hostvars[on].setdefault(pruning.USAGE, said())["cluster"] = cluster
        self.hostvars[on][pruning.JOBS] = queue(*jobs, **more)
        return self

    def without(self, *names: str) -> Run:
        self.declared["pruning"]["without"] = list(names)
        return self

    def other_share(self, answer: dict[str, t.Any] | None, environments: t.Sequence[str] = ("train",)) -> Run:
        """A share nas_b of dev2, and what that says of it."""
        share = {"name": "nas_b", "root": "/mnt", "builder": "dev2", "environments": list(environments)}
        self.declared["work"].append({"shares": [share]})
        self.hosts.append("dev2")
        self.hostvars["dev2"] = {} if answer is None else {SEEN: {"results": [answer]}}
        return self

    def site(self) -> pruning.Site:
        return pruning.site(self.declared, self.hosts, NOW)

    def in_run(self) -> dict[str, dict[str, t.Any]]:
        return {host: self.hostvars[host] for host in self.hosts}

    def verdicts(self, share: str = "nas_a") -> list[pruning.Verdict]:
        return pruning.verdicts(self.site(), self.in_run())[share]

    def why(self) -> list[str]:
        """Why the one item stays; nothing if it goes."""
        (verdict,) = self.verdicts()
        assert (pruning.going([verdict]) == []) is bool(verdict.why)
        return list(verdict.why)


def test_what_nobody_uses_goes() -> None:
    run = Run(item(), item("interpreter", KEY), item("uv", "0.13.8"))
    assert pruning.going(run.verdicts()) == [
        {"kind": "generation", "name": NAME},
        {"kind": "interpreter", "name": KEY},
        {"kind": "uv", "name": "0.13.8"},
    ]


# Members


@pytest.mark.parametrize(
    ("what", "used", "other"),
    [
        (item(), {"environment": "train", "generation": ID}, {"environment": "train", "generation": OTHER}),
        (item("interpreter", KEY), {"interpreter": KEY}, {"interpreter": KEY.replace("9", "8")}),
        (item("uv", "0.13.8"), {"uv": "0.13.8"}, {"uv": "0.13.9"}),
    ],
)
def test_what_a_process_uses_stays(what: dict[str, t.Any], used: dict[str, str], other: dict[str, str]) -> None:
    assert Run(what).says("node1", use(**other)).why() == []
    assert Run(what).says("node1", use(**other), use(**used)).why() == ["node1: pid 7 (python, alice)"]
    # Whatever else is known of that host.
    run = Run(what).says("node1", use(**used, job="4711"), booted=AFTER).without("node1")
    assert run.why() == ["node1: pid 7 (python, alice), job 4711"]


def silent(run: Run) -> None:
    run.silent("node1")


def failed(run: Run) -> None:
    run.silent("node1", {"failed": True, "msg": "no Python", "uses": []})


def not_root(run: Run) -> None:
    run.says("node1", is_root=False)


def unread(run: Run) -> None:
    run.says("node1", unread=[{"pid": 9, "user": "", "command": "", "why": "the kernel said nothing for 5 s"}])


def limited(run: Run) -> None:
    run.hosts.remove("node1")


SILENCES: list[tuple[t.Callable[[Run], None], str]] = [
    (silent, "node1 did not answer"),
    (failed, "node1 did not answer"),
    (not_root, "node1 was not asked as root"),
    (unread, "node1: pid 9 (?) may use anything: the kernel said nothing for 5 s"),
    (limited, "node1 is not among the hosts of this run (--limit?)"),
]


@pytest.mark.parametrize(("silence", "why"), SILENCES)
def test_a_member_of_which_that_is_not_known_keeps_all(silence: t.Callable[[Run], None], why: str) -> None:
    run = Run()
    silence(run)
    assert run.why() == [why]
    # Unless the admin says so; of that one.
    assert run.without("node2").why() == [why]
    assert run.without("node1").why() == []
    # It is no member of this share.
    run.without()
    run.declared["pruning"]["members"]["nas_a"] = ["dev1", "node2"]
    assert run.why() == []


@pytest.mark.parametrize(("silence", "why"), SILENCES)
@pytest.mark.parametrize(
    ("booted", "excused"),
    [
        (at(301), True),
        (at(300), False),  # So far clocks may be apart.
        (at(-301), False),
        (None, False),
        ("soon", False),
        ("2026-11-02T12:00:00", False),  # Of no zone.
        (at(299, NOW.isoformat()), True),
        (at(301, NOW.isoformat()), False),  # That is to come.
        ("9999-12-31T23:59:59+00:00", False),
    ],
)
def test_one_that_was_booted_later_does_not(
    silence: t.Callable[[Run], None], why: str, booted: t.Any, excused: bool
) -> None:
    """By itself, or by Slurm."""
    run = Run().slurm(nodes=[{"name": "node1", "booted": booted}, {"name": "node2", "booted": AFTER}])
    silence(run)
    if run.hostvars["node1"][pruning.USAGE].get("uses") is not None:  # What itself says is from long ago.
        run.hostvars["node1"][pruning.USAGE]["booted"] = booted
    assert run.why() == ([] if excused else [why])


@pytest.mark.parametrize(("silence", "why"), SILENCES)
def test_an_interpreter_may_be_used_on_hosts_that_were_booted_later(silence: t.Callable[[Run], None], why: str) -> None:
    """People's own environments start on it at any time."""
    run = Run(item("interpreter", KEY)).slurm(nodes=[{"name": "node1", "booted": AFTER}])
    silence(run)
    if run.hostvars["node1"][pruning.USAGE].get("uses") is not None:
        run.hostvars["node1"][pruning.USAGE]["booted"] = AFTER
    assert run.why() == [why]
    assert run.without("node1").why() == []


def test_what_nobody_knows_the_time_of_stays_whenever_hosts_were_booted() -> None:
    run = Run(item(retired=None)).says("node1", booted=AFTER, is_root=False)
    assert run.why() == ["node1 was not asked as root"]


def test_of_two_times_of_a_boot_the_earlier_one_counts() -> None:
    run = Run().slurm(nodes=[{"name": "node1", "booted": AFTER}]).says("node1", booted=BEFORE, is_root=False)
    assert run.why() == ["node1 was not asked as root"]


def test_only_who_was_asked_tells_when_others_were_booted() -> None:
    """As if a host could register what it wants."""
    run = (
        Run()
        .silent("node1")
        .slurm(cluster="c1", on="dev1")
        .slurm(on="node2", nodes=[{"name": "node1", "booted": AFTER}])
    )
    assert run.why() == ["node1 did not answer"]


def test_a_builder_that_did_not_answer_has_nothing_that_goes() -> None:
    for answer in (
        {"failed": True, "candidates": [item()], "in_force": {}},
        {"unreachable": True},
        {"candidates": "all", "in_force": {}},
        {"candidates": [item()], "in_force": None},
        {},
    ):
        run = Run()
        run.hostvars["dev1"][SEEN] = {"results": [{**answer, "__uvnas_share": {"name": "nas_a"}}]}
        assert run.verdicts() == []
    run.hosts.remove("dev1")
    assert run.verdicts() == []


def test_what_is_wanted_back_stays() -> None:
    assert Run(item(aside=True, wanted="held at a")).why() == ["needed: held at a"]


def test_one_of_two_of_that_name_keeps_both() -> None:
    """One is aside, and another one in its place."""
    run = Run(item(aside=True, retired=None), item()).says("node1", is_root=False, booted=AFTER)
    assert [bool(verdict.why) for verdict in run.verdicts()] == [True, False]
    assert pruning.going(run.verdicts()) == []


# What has been put aside


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"aside": [["generation", NAME]]}, []),
        ({"aside": [["uv", NAME], ["generation"], "x", None]}, ["it was not put aside"]),
        ({"aside": []}, ["it was not put aside"]),
        ({"aside": None}, ["it was not put aside"]),
        ({"failed": True, "aside": [["generation", NAME]]}, ["it was not put aside"]),
        ({"unreachable": True}, ["it was not put aside"]),
        (None, ["it was not put aside"]),
    ],
)
def test_what_its_builder_has_not_said_to_be_aside_stays(answer: dict[str, t.Any] | None, why: list[str]) -> None:
    """Somebody may find it since everybody was asked again: a module whose connection broke may go on."""
    run = Run()
    said = [] if answer is None else [{**answer, "__uvnas_share": {"name": "nas_a"}}]
    run.hostvars["dev1"][pruning.ASIDE] = {"results": said}
    assert run.why() == why
    # Others are not named for that.
    assert run.silent("node1").why() == ["node1 did not answer"]


def test_what_was_aside_before_is_so_since() -> None:
    run = Run(item(aside=True))
    run.hostvars["dev1"][pruning.ASIDE] = {"results": []}
    assert run.why() == []


# Jobs


@pytest.mark.parametrize(
    ("given", "how"),
    [
        ({}, "perhaps submitted before it was retired"),
        ({"submitted": at(300)}, "perhaps submitted before it was retired"),
        ({"submitted": at(301)}, None),
        ({"submitted": at(301), "restarted": True}, "restarted"),
        ({"submitted": at(301), "restarted": None}, "restarted"),
        ({"submitted": None}, "perhaps submitted before it was retired"),
        ({"submitted": "Unknown"}, "perhaps submitted before it was retired"),
        ({"submitted": at(301, NOW.isoformat())}, "perhaps submitted before it was retired"),
        ({"state": "SUSPENDED"}, "perhaps submitted before it was retired"),
    ],
)
def test_jobs_that_may_have_its_path(given: dict[str, t.Any], how: str | None) -> None:
    state = str(given.get("state", "PENDING")).lower()
    run = Run().slurm(job(**given))
    assert run.why() == ([] if how is None else [f"c1: job 4711 of bob ({state}), {how}"])
    assert run.without("job:c1/4711").why() == []
    assert run.without("job:c2/4711", "job:c1/471", "job:c1/47110", "dev1").why() == run.without().why()


def test_any_job_matters_where_the_time_is_not_known() -> None:
    run = Run(item(retired=None)).slurm(job(submitted=AFTER))
    assert run.why() == ["c1: job 4711 of bob (pending), perhaps submitted before it was retired"]


@pytest.mark.parametrize("number", ["6_[2-9%2]", "6_3", "6+1", "6"])
def test_a_job_is_left_out_with_all_its_parts(number: str) -> None:
    run = Run().slurm(job(id=number))
    assert run.why() == [f"c1: job {number} of bob (pending), perhaps submitted before it was retired"]
    assert run.without("job:c1/6").why() == []


def test_jobs_of_a_cluster_keep_what_its_members_use() -> None:
    run = Run().slurm(job())
    run.declared["pruning"]["members"]["nas_a"] = ["node1", "node2"]
    run.declared["pruning"]["members"]["nas_b"] = ["dev1"]
    assert run.why() == []
    # One of its nodes is a member, though that says nothing itself.
    run.silent("node1").slurm(job(), nodes=[{"name": "node1", "booted": AFTER}])
    assert run.why() == ["c1: job 4711 of bob (pending), perhaps submitted before it was retired"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            {"failed": True, "msg": "squeue failed\nIs slurmctld up?"},
            "c1: dev1 cannot list its jobs: squeue failed. Is",
        ),
        ({"unreachable": True}, "c1: dev1 cannot list its jobs: no answer"),
        ({"failed": True, "jobs": []}, "c1: dev1 cannot list its jobs: no answer"),
        ({"jobs": "none"}, "c1: dev1 cannot list its jobs: no answer"),
        ({"jobs": [], "is_root": False}, "c1: dev1 was not asked as root, so it may not see all jobs"),
        ({}, "c1: dev1 cannot list its jobs: no answer"),
    ],
)
def test_a_cluster_that_does_not_tell_its_jobs_keeps_all(answer: dict[str, t.Any], why: str) -> None:
    run = Run().slurm()
    run.hostvars["dev1"][pruning.JOBS] = answer
    (found,) = run.without("job:c1/4711").why()
    assert found.startswith(why)


def test_a_cluster_without_a_name() -> None:
    run = Run().slurm(cluster="", on="node1")
    assert run.why() == ["node1 has Slurm, but the name of its cluster is not to be found"]
    assert pruning.Members(run.site(), run.in_run()).to_ask() == {}
    assert run.without("node1").why() == []


def test_whom_to_ask() -> None:
    def asked(run: Run) -> dict[str, str]:
        return pruning.Members(run.site(), run.in_run()).to_ask()

    run = Run()
    assert asked(run) == {}
    for host in ("node2", "node1"):
        run.says(host, cluster="c1")
    assert asked(run) == {"c1": "node1"}
    run.says("node1", cluster="c1", is_root=False)
    assert asked(run) == {"c1": "node2"}
    run.says("dev1", cluster="c1")
    assert asked(run) == {"c1": "dev1"}
    run.says("node2", cluster="c2")
    assert asked(run) == {"c1": "dev1", "c2": "node2"}


def test_which_jobs_and_nodes_are_asked_for() -> None:
    run = Run(item(), item("uv", "0.13.8", retired=AFTER)).silent("node2").says("node1", is_root=False)
    assert pruning.newest(run.site(), run.in_run()) == at(3900)
    assert pruning.Members(run.site(), run.in_run()).silent() == ["node1", "node2"]
    for retired in (None, "soon", "9999-12-31T23:59:59+00:00", at(1, NOW.isoformat())):
        run = Run(item(), item("uv", "0.13.8", retired=retired))
        assert pruning.newest(run.site(), run.in_run()) == ""
    run = Run()
    run.hostvars["dev1"] = {}
    assert pruning.newest(run.site(), run.in_run()) == ""


# Other shares


def test_what_is_in_force_on_another_share_stays() -> None:
    assert Run().other_share(seen(share="nas_b", in_force={"train": [OTHER], "docs": [ID]})).why() == []
    assert Run().other_share(seen(share="nas_b", in_force={"train": [OTHER, ID]})).why() == [
        "in force or held on nas_b"
    ]
    # An interpreter or a uv is of its own share only.
    run = Run(item("uv", "0.13.8")).other_share(seen(share="nas_b", in_force={"0.13.8": ["0.13.8"]}))
    assert run.why() == []


def test_where_another_builder_is_silent() -> None:
    why = ["the builder of nas_b did not answer, and it may be in force there"]
    assert Run().other_share(None).why() == why
    assert Run().other_share(seen(share="nas_b", failed=True)).why() == why
    assert Run().other_share(None, environments=["docs"]).why() == []


def test_a_share_that_no_host_of_this_run_has() -> None:
    run = Run()
    run.declared["pruning"]["unseen"] = {"nas_c": ["train"], "nas_d": ["docs"]}
    assert run.why() == ["no host of this run has nas_c (--limit?), and it may be in force there"]


# Lies


NONSENSE: list[t.Any] = [
    None, 5, -1, 1e400, float("nan"), True, "", "x", "a\nb", "../../etc/passwd", "x" * 100_000, [], ["x"], {},
    {"a": {"b": 1}}, [{}], "\ud800", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+14:00",
    "{{ lookup('pipe', 'id') }}",
]  # fmt: skip


def kept(run: Run) -> set[str]:
    """What stays although node1, or the builder of another share, is the only one to say anything odd."""
    judged = pruning.verdicts(run.site(), run.in_run())
    for verdicts in judged.values():
        for verdict in verdicts:
            assert all(why.isprintable() and len(why) < 2000 for why in verdict.why)
    pruning.newest(run.site(), run.in_run())
    pruning.Members(run.site(), run.in_run()).to_ask()
    return {verdict.item.name for verdict in judged["nas_a"] if verdict.why}


def busy() -> Run:
    """Each of four things stays for a reason of its own, none of which is node1's."""
    names = [f"train/{digit * 12}" for digit in "abcd"]
    run = Run(*(item(name=name) for name in names[:3]), item(name=names[3], retired=AFTER), item("uv", "0.13.8"))
    run.says("node2", use(environment="train", generation="a" * 12))
    run.other_share(seen(share="nas_b", in_force={"train": ["b" * 12]}))
    run.slurm(job(submitted=at(1800)))  # It is older than the last one only.
    return run


STAY = {f"train/{digit * 12}" for digit in "abd"}


def test_what_stays_without_lies() -> None:
    assert kept(busy()) == STAY


@pytest.mark.parametrize("lie", NONSENSE)
def test_a_member_that_lies_makes_nothing_go(lie: t.Any) -> None:
    for key in ("uses", "unread", "is_root", "cluster", "booted", "failed", "unreachable"):
        run = busy().says("node1", **{key: lie})
        assert kept(run) >= STAY, key
    for key in ("pid", "user", "command", "job", "environment", "generation", "interpreter", "uv"):
        run = busy().says("node1", use(**{key: lie}), lie)
        assert kept(run) >= STAY, key
    for key in ("jobs", "nodes", "is_root", "failed", "msg"):
        run = busy().says("node1", cluster="c9")
        run.hostvars["node1"][pruning.JOBS] = queue(**{key: lie})
        assert kept(run) >= STAY, key
    run = busy()
    run.hostvars["node1"][pruning.USAGE] = lie
    assert kept(run) == STAY | {"train/" + "c" * 12, "0.13.8"}


@pytest.mark.parametrize("lie", NONSENSE)
def test_who_lists_jobs_makes_nothing_go_with_nonsense(lie: t.Any) -> None:
    for key in ("submitted", "restarted", "state", "user", "id"):
        run = busy().slurm(job(), job(**{key: lie}), lie)
        assert kept(run) >= STAY, key
    for name, booted in itertools.product(("node1", lie), (AFTER, lie)):
        run = busy().slurm(job(), nodes=[{"name": name, "booted": booted}, lie]).silent("node2")
        assert kept(run) == {*STAY, "train/" + "c" * 12, "0.13.8"}


@pytest.mark.parametrize("lie", NONSENSE)
def test_a_builder_that_lies_makes_nothing_go_elsewhere(lie: t.Any) -> None:
    for key in ("candidates", "in_force", "failed", "unreachable"):
        run = busy()
        share = seen(share="nas_b", in_force={"train": ["b" * 12]})
        run.hostvars["dev2"][SEEN] = {"results": [{**share, key: lie}]}
        if key != "in_force" or not isinstance(lie, dict):
            assert kept(run) >= STAY, (key, lie)
    for key in ("kind", "name", "retired", "aside", "wanted"):
        run = busy()
        run.hostvars["dev2"][SEEN]["results"][0]["candidates"] = [{**item(), key: lie}, lie]
        assert kept(run) >= STAY, key


@pytest.mark.parametrize("lie", NONSENSE)
def test_what_goes_has_the_name_that_its_builder_gave_it(lie: t.Any) -> None:
    """And one that is no name is no item. It goes back to that builder only, which knows what it has."""
    run = Run(item(name=lie), item(kind=lie), lie)
    for named in pruning.going(run.verdicts()):
        assert named["name"] in (lie, NAME)
        assert named["name"].isprintable()
        assert len(named["name"]) <= 300


def test_a_share_that_a_host_does_not_build_is_not_its_business() -> None:
    run = Run()
    run.hostvars["node1"][SEEN] = {"results": [seen(item("uv", "0.13.9"))]}
    run.hostvars["dev1"][SEEN]["results"].append(seen(item("uv", "0.13.9"), share="nas_b"))
    assert {share: len(found) for share, found in pruning.verdicts(run.site(), run.in_run()).items()} == {"nas_a": 1}


# What the admin leaves out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("node1", None),
        ("job:c1/4711", None),
        ("nod1", "uvnas_prune_without: nod1 is no host of this inventory; did you mean node1?"),
        ("saturn", "uvnas_prune_without: saturn is no host of this inventory"),
        ("job:4711", "uvnas_prune_without: job:4711 is no job; write job:<cluster>/<number>"),
        ("job:c1/6_3", "uvnas_prune_without: job:c1/6_3 is no job; write job:<cluster>/<number>"),
        ("job:c1/", "uvnas_prune_without: job:c1/ is no job; write job:<cluster>/<number>"),
    ],
)
def test_what_cannot_be_left_out(name: str, said: str | None) -> None:
    assert pruning.problems([name], HOSTS) == ([] if said is None else [said])


class Counted(dict[str, t.Any]):
    """As Ansible's hostvars, which take milliseconds for each look."""

    looks = 0

    def __getitem__(self, name: str) -> t.Any:
        self.looks += 1
        return super().__getitem__(name)


def test_each_host_is_looked_at_once() -> None:
    run = Run(*(item(name=f"train/{number:012x}") for number in range(50)))
    hostvars = Counted(run.in_run())
    pruning.verdicts(run.site(), hostvars)
    assert hostvars.looks <= 2 * len(HOSTS)
