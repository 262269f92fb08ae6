# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs and nodes of a cluster, from what Slurm 22.05 and 20.11 have said, and its name, from all kinds of files."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import slurm
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed
from ansible_collections.uvnas.cluster.plugins.module_utils.host.slurm import Job

# Of Slurm 22.05.8: 1 was submitted on hold, 2 and 4 were requeued and run again, 3 is suspended, 5 was requeued and is
# held, 6 is an array of which two run, 7 has two components, 10 waits for another one, 16 ignores its end, 18 was
# requeued by `scontrol requeuehold State=SpecialExit`, and 19 stopped by `scancel --signal=STOP`.
JOBS = """\
7+0|CANCELLED|2026-11-27T17:37:14|0|root|
7+1|CANCELLED|2026-11-27T17:37:14|0|root|
9|CANCELLED|2026-11-27T17:37:14|0|root|
15_[1-41:2]|CANCELLED|2026-11-27T17:39:03|0|u23456789012345678901234567890x|
16|COMPLETING|2026-11-27T17:42:26|0|root|
12|FAILED|2026-11-27T17:37:14|0|root|
6_[2-9%2]|PENDING|2026-11-27T17:37:14|0|root|
5|PENDING|2026-11-27T17:37:19|1|root|
1|PENDING|2026-11-27T17:37:14|0|root|
2|RUNNING|2026-11-27T17:39:03|1|root|
4|RUNNING|2026-11-27T17:37:19|1|root|
6_0|RUNNING|2026-11-27T17:37:14|0|root|
6_1|RUNNING|2026-11-27T17:37:14|0|root|
17|RUNNING|2026-11-27T17:42:26|0|root|
3|SUSPENDED|2026-11-27T17:37:14|0|root|
18|SPECIAL_EXIT|2026-11-27T17:42:30|1|root|
19|STOPPED|2026-11-27T17:42:26|0|root|
"""
# The line of node-b1 is of a slurmd of 20.11.
NODES = """\
NodeName=node-a1 Arch=x86_64 CoresPerSocket=1  CPUAlloc=0 CPUEfctv=8 CPUTot=8 CPULoad=0.58 AvailableFeatures=(null) \
ActiveFeatures=(null) Gres=(null) NodeAddr=node-a1 NodeHostName=node-a1 Version=22.05.8 OS=Linux 6.18.44-fc-v669 #1 \
SMP PREEMPT_DYNAMIC @0  RealMemory=1 AllocMem=0 FreeMem=22152 Sockets=8 Boards=1 State=IDLE ThreadsPerCore=1 \
TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=a  BootTime=2026-11-27T13:35:17 \
SlurmdStartTime=2026-11-27T17:35:57 LastBusyTime=2026-11-27T17:35:57 CfgTRES=cpu=8,mem=1M,billing=8 AllocTRES= \
CapWatts=n/a CurrentWatts=0 AveWatts=0 ExtSensorsJoules=n/s ExtSensorsWatts=0 ExtSensorsTemp=n/s
NodeName=node-b1 Arch=x86_64 CoresPerSocket=1  CPUAlloc=0 CPUEfctv=8 CPUTot=8 CPULoad=0.58 AvailableFeatures=(null) \
ActiveFeatures=(null) Gres=(null) NodeAddr=node-b1 NodeHostName=node-b1 Version=20.11.4 OS=Linux 6.18.44-fc-v669 #1 \
SMP PREEMPT_DYNAMIC @0  RealMemory=1 AllocMem=0 FreeMem=22152 Sockets=8 Boards=1 State=IDLE ThreadsPerCore=1 \
TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=b  BootTime=2026-11-27T13:35:18 \
SlurmdStartTime=2026-11-27T17:35:59 LastBusyTime=2026-11-27T17:35:59 CfgTRES=cpu=8,mem=1M,billing=8 AllocTRES= \
CapWatts=n/a CurrentWatts=0 AveWatts=0 ExtSensorsJoules=n/s ExtSensorsWatts=0 ExtSensorsTemp=n/s
"""


class Says:
    """A runner in whose place a command says something."""

    def __init__(self, stdout: str = "", stderr: str = "", rc: int = 0) -> None:
        self.completed = Completed(rc, stdout, stderr)
        self.cmds: list[list[str]] = []

    def run(self, cmd: t.Sequence[str], **_how: t.Any) -> Completed:
        self.cmds.append(list(cmd))
        return self.completed


@pytest.fixture(autouse=True)
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Slurm of this machine."""
    monkeypatch.delenv("SLURM_CONF", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(slurm, "_DIRECTORIES", ())
    monkeypatch.setattr(slurm, "_CONFIGURATIONS", (str(tmp_path / "one.conf"), str(tmp_path / "two.conf")))
    (tmp_path / "bin").mkdir()


def program(directory: Path, name: str, script: str) -> Path:
    path = directory / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_no_slurm() -> None:
    assert slurm.cluster() is None


def test_slurm_without_a_configuration(tmp_path: Path) -> None:
    program(tmp_path, "squeue", "exit 0")
    assert slurm.cluster() == ""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ClusterName=machines\n", "machines"),
        ("# ClusterName=old\n\tCLUSTERNAME = Cluster-A  # ours\n", "cluster-a"),
        ('SlurmctldHost=dev1 clustername="b_2" AuthType=auth/munge', "b_2"),
        ("ClusterName=one\r\nClusterName=two\r\n", "two"),
        ("Include /etc/slurm/site.conf\nClusterName=c#d\n", "c"),
        ("ClusterName=x\\\n  SlurmctldHost=dev1\n", "x"),
        ("ClusterName=a\x1b[2J\xff\n", "a?[2j?"),
        ("ClusterName=" + "x" * 500, "x" * 80),
        ("MyClusterName=x\nSlurmctldHost=dev1 # ClusterName=y\nClusterName=\nClusterNames=z\n", ""),
        ("Include /etc/slurm/site.conf\n", ""),
        ("", ""),
    ],
)
def test_the_name_of_the_cluster(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "two.conf").write_bytes(text.encode("latin-1"))
    assert slurm.cluster() == name


def test_the_first_configuration_with_a_name_counts(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "one.conf")
    (tmp_path / "two.conf").write_text("ClusterName=two")
    assert slurm.cluster() == "two"
    (tmp_path / "one.conf").unlink()
    (tmp_path / "one.conf").write_text("ClusterName=one")
    assert slurm.cluster() == "one"


def test_the_configuration_that_is_given_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.conf").write_text("ClusterName=one")
    (tmp_path / "mine.conf").write_text("ClusterName=mine")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "mine.conf"))
    assert slurm.cluster() == "mine"


def test_a_configuration_that_is_not_to_be_read(tmp_path: Path) -> None:
    (tmp_path / "one.conf").mkdir()
    assert slurm.cluster() == ""


def test_all_jobs_that_have_not_ended() -> None:
    jobs = slurm.jobs(None, runner=Says(JOBS))
    assert [f"{job.id} {job.state}" for job in jobs] == [
        "16 COMPLETING", "6_[2-9%2] PENDING", "5 PENDING", "1 PENDING", "2 RUNNING", "4 RUNNING", "6_0 RUNNING",
        "6_1 RUNNING", "17 RUNNING", "3 SUSPENDED", "18 SPECIAL_EXIT", "19 STOPPED",
    ]  # fmt: skip
    assert jobs[1] == Job("6_[2-9%2]", "root", "PENDING", "2026-11-27T17:37:14+00:00", restarted=False)
    assert jobs[2] == Job("5", "root", "PENDING", "2026-11-27T17:37:19+00:00", restarted=True)


@pytest.mark.parametrize(
    ("before", "ids"),
    [
        ("2026-11-27T17:37:13.999999+00:00", ["5", "2", "4", "18"]),
        # Slurm's time has no fractions, so it may have been before this one.
        ("2026-11-27T17:37:14+00:00", ["6_[2-9%2]", "5", "1", "2", "4", "6_0", "6_1", "3", "18"]),
        ("2026-11-27T18:42:25+01:00", ["6_[2-9%2]", "5", "1", "2", "4", "6_0", "6_1", "3", "18"]),
        ("2026-11-27T18:42:26+01:00", [
            "16", "6_[2-9%2]", "5", "1", "2", "4", "6_0", "6_1", "17", "3", "18", "19",
        ]),
    ],
)  # fmt: skip
def test_jobs_that_may_have_been_submitted_before(before: str, ids: list[str]) -> None:
    assert [job.id for job in slurm.jobs(before, runner=Says(JOBS))] == ids


@pytest.mark.parametrize("state", sorted(slurm._FINISHED))
def test_a_job_that_has_ended(state: str) -> None:
    lines = f"1|{state}|2026-11-27T17:37:14|0|a|\n2|{state} by 0|2026-11-27T17:37:14|1|a|\n"
    assert slurm.jobs(None, runner=Says(lines)) == []


@pytest.mark.parametrize(
    "state",
    [
        "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESIZING", "REVOKED", "SIGNALING", "STAGE_OUT", "",
        "of a later release",
    ],
)  # fmt: skip
def test_a_job_in_any_other_state(state: str) -> None:
    assert [job.state for job in slurm.jobs(None, runner=Says(f"1|{state}|N/A|0|a|\n"))] == [state]


@pytest.mark.parametrize("time", ["N/A", "Unknown", "NONE", "", "17:37:14"])
def test_a_job_whose_submission_is_not_known(time: str) -> None:
    (job,) = slurm.jobs("2026-11-27T17:37:14+00:00", runner=Says(f"1|PENDING|{time}|0|a|\n"))
    assert (job.submitted, job.restarted) == (None, False)


@pytest.mark.parametrize("restarts", ["1", "65534", "", "N/A"])
def test_a_job_that_may_have_been_requeued(restarts: str) -> None:
    (job,) = slurm.jobs("2020-01-01T00:00:00+00:00", runner=Says(f"1|PENDING|2026-11-27T17:37:14|{restarts}|a|\n"))
    assert job.restarted


def test_names_that_are_not_fit_to_be_shown() -> None:
    line = f"1_[{'1,' * 500}]|PENDING|2026-11-27T17:37:14|0|LAB\\a|b \x1b[2Jc|\n"
    (job,) = slurm.jobs(None, runner=Says(line))
    assert (job.user, len(job.id)) == ("LAB\\a|b ?[2Jc", 80)


def test_no_jobs() -> None:
    assert slurm.jobs(None, runner=Says("\n")) == []


def test_an_answer_to_another_question() -> None:
    with pytest.raises(UvnasError, match=r"squeue has answered what nobody asked for: JOBID PARTITION\?"):
        slurm.jobs(None, runner=Says("JOBID PARTITION\x1b\n"))


BOOTED_A, BOOTED_B = "2026-11-27T13:35:17+00:00", "2026-11-27T13:35:18+00:00"


def test_nodes_by_their_names() -> None:
    runner = Says(NODES)
    names = ["node-a1", "NODE-B1.example.org", "node-c1", "node-a"]
    assert slurm.nodes(names, runner=runner) == {"node-a1": BOOTED_A, "NODE-B1.example.org": BOOTED_B}
    assert len(runner.cmds) == 1


def test_no_nodes_are_not_asked_for() -> None:
    runner = Says(NODES)
    assert slurm.nodes([], runner=runner) == {}
    assert runner.cmds == []


NODE = "NodeName={0} Arch=x86_64 NodeAddr={1} NodeHostName={2} OS=Linux 6 #1  BootTime={3} Reason=no BootTime=x\n"
EARLY, LATE = "2026-01-01T00:00:00", "2026-02-01T00:00:00"
FOUND_EARLY, FOUND_LATE = f"{EARLY}+00:00", f"{LATE}+00:00"


@pytest.mark.parametrize(
    ("nodes", "name", "found"),
    [
        ([("n1", "10.0.0.1", "host1", EARLY)], "10.0.0.1", {"10.0.0.1": FOUND_EARLY}),
        ([("n1", "10.0.0.1", "host1", EARLY)], "host1", {"host1": FOUND_EARLY}),
        ([("n1", "10.0.0.1", "host1.example.org", EARLY)], "host1", {"host1": FOUND_EARLY}),
        ([("n1", "n1", "n1", "None")], "n1", {"n1": None}),
        ([("n1", "n1", "n1", "Unknown")], "n1.example.org", {"n1.example.org": None}),
        # Parts of an address are no name.
        ([("n1", "10.0.0.1", "n1", EARLY)], "10.0.0.2", {}),
        ([("n1", "fd00::1", "n1", EARLY)], "fd00::2", {}),
        ([("n1", "10.0.0.1", "n1", EARLY)], "10", {}),
        # Several on one host, and several hosts with one name.
        ([("v1", "n1", "n1", LATE), ("v2", "n1", "n1", EARLY)], "n1", {"n1": FOUND_EARLY}),
        ([("v1", "n1", "n1", EARLY), ("v2", "n1", "n1", "None")], "n1", {"n1": None}),
        ([("n1.a", "n1.a", "n1.a", EARLY), ("n1.b", "n1.b", "n1.b", LATE)], "n1.b", {"n1.b": FOUND_LATE}),
        ([("n1.a", "n1.a", "n1.a", LATE), ("n1.b", "n1.b", "n1.b", EARLY)], "n1", {"n1": FOUND_EARLY}),
    ],
)
def test_which_node_is_meant(nodes: list[tuple[str, str, str, str]], name: str, found: dict[str, str | None]) -> None:
    lines = "".join(NODE.format(*node) for node in nodes)
    assert slurm.nodes([name], runner=Says(lines)) == found


def test_a_clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people set for their own squeue would hide jobs, or show their times in another zone."""
    for name in ("SQUEUE_STATES", "SQUEUE_FORMAT2", "SLURM_CLUSTERS", "SLURM_BITSTR_LEN"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    monkeypatch.setenv("SLURM_CONF", "/x/slurm.conf")
    monkeypatch.setenv("PATH", f".:relative::{tmp_path / 'bin'}")
    program(tmp_path, "squeue", f'/usr/bin/env >{tmp_path}/environ; echo "$@" >{tmp_path}/options')
    assert slurm.jobs(None) == []
    environ = dict(line.split("=", 1) for line in (tmp_path / "environ").read_text().splitlines())
    assert {name: value for name, value in environ.items() if name not in ("PWD", "SHLVL", "_", "OLDPWD")} == {
        "PATH": str(tmp_path / "bin"), "LC_ALL": "C", "TZ": "UTC", "SLURM_TIME_FORMAT": "standard",
        "SLURM_CONF": "/x/slurm.conf",
    }  # fmt: skip
    assert (tmp_path / "options").read_text().split() == [
        "--local", "--all", "--noheader", "--states=all",
        "--Format=JobArrayID:|,State:|,SubmitTime:|,RestartCnt:|,UserName:|",
    ]  # fmt: skip


def test_a_command_that_fails() -> None:
    said = "squeue: error: Munge encode failed\nslurm_load_jobs error: \x1b[1mProtocol authentication error\n\n"
    with pytest.raises(UvnasError) as caught:
        slurm.jobs(None, runner=Says(JOBS, said, 1))
    assert str(caught.value) == "squeue has failed: slurm_load_jobs error: ?[1mProtocol authentication error"
    assert not isinstance(caught.value, CommandError)  # Which would show all of its output.
    with pytest.raises(UvnasError, match=r"\Ascontrol has failed\Z"):
        slurm.nodes(["n1"], runner=Says(rc=1))


def test_a_command_that_takes_too_long(tmp_path: Path) -> None:
    path = program(tmp_path, "squeue", "echo 'still waiting' >&2; exec /usr/bin/sleep 1000")
    with pytest.raises(UvnasError) as caught:
        slurm.jobs(None, timeout=1.5)
    assert str(caught.value) == f"{path} timed out after 1.5 s: still waiting"


def test_a_command_that_is_missing() -> None:
    with pytest.raises(UvnasError, match="cannot run scontrol: No such file or directory"):
        slurm.nodes(["n1"])
