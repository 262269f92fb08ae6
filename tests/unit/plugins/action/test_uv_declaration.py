# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared for hosts, with variables as Ansible makes them of a real inventory."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.filter.todo import todo
from ansible_collections.uvnas.cluster.tests.unit.declarations import Host, Site

SHARES = [
    {"name": "nas_a", "root": "/mnt/nas-a/uv", "builder": "dev1"},
    {"name": "nas_b", "root": "/mnt/nas-b/uv", "builder": "dev1"},
]
ENVS = [{"name": "train", "python": "3.12", "requirements": ["numpy"]}]
NODES = [f"node{number:03}" for number in range(200)]
SAME: dict[str, dict[str, t.Any]] = {"dev1": {}, **{name: {} for name in NODES}}
SITE = {"uvnas_shares": SHARES, "uvnas_envs": ENVS}
NUMBER = 'must be a string; quote it: "3.1" (or "3.10": YAML drops the zero)'


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def problems(site: Site, variables: Host, hosts: t.Mapping[str, Host] | None = None, **more: t.Any) -> list[str]:
    """What is wrong with an inventory."""
    hosts = {"dev1": {}} if hosts is None else hosts
    site.write(variables, hosts)
    result, errors = site.run(list(hosts), **more)
    assert bool(errors) == bool(result.get("failed")), result
    return errors


# What each host has to do


def test_what_a_builder_has_to_do(site: Site) -> None:
    envs = [
        *ENVS,
        {"name": "old", "python": "3.11", "requirements": [], "shares": ["nas_b"]},
        {"name": "gone", "state": "absent", "python": "3.9"},
    ]
    shares = [{**SHARES[0], "owner": "uv", "mode": "0750"}, {**SHARES[1], "glibc": "2.31", "mount": "/mnt/nas-b"}]
    upgrade = {"uvnas_upgrade": "train, old", "uvnas_upgrade_packages": "numpy", "uvnas_upgrade_pythons": "3.11"}
    site.write({"uvnas_shares": shares, "uvnas_envs": envs, "uvnas_pythons": ["3.13"], **upgrade}, SAME)
    result, errors = site.run([*SAME])
    assert errors == []
    work = todo(result, "dev1")
    first, second = work["builds"]
    assert first == {
        "name": "nas_a", "root": "/mnt/nas-a/uv", "owner": "uv", "mode": "0750", "earlier": [],
        "others": [{"name": "nas_b", "root": "/mnt/nas-b/uv"}],
        # 3.11 is upgraded by the same run, on the other share.
        "pythons": ["3.13", "3.12"], "upgrade_pythons": [],
    }  # fmt: skip
    assert (second["pythons"], second["upgrade_pythons"]) == (["3.13", "3.12", "3.11"], ["3.11"])
    assert second["earlier"] == second["others"] == [{"name": "nas_a", "root": "/mnt/nas-a/uv"}]
    assert (work["upgrade"], work["upgrade_packages"]) == (["train", "old"], ["numpy"])
    assert work["glibc"] == {"nas_b": "2.31"}
    assert work["uses"][1] == {
        "name": "nas_b",
        "root": "/mnt/nas-b/uv",
        "mount": "/mnt/nas-b",
        "glibc": "2.31",
        "builder": "dev1",
    }


def test_members_with_the_same_to_do_share_it(site: Site) -> None:
    site.write(SITE, {**SAME, "node007": {"uvnas_host_shares": ["nas_b"], "uvnas_uv_local_dirs": ["/usr/local/bin"]}})
    result, errors = site.run([*SAME])
    assert errors == []
    assert len(result["work"]) == 3
    assert [share["name"] for share in todo(result, "node007")["uses"]] == ["nas_b"]
    assert [share["name"] for share in todo(result, "node008")["exports"]["shares"]] == ["nas_a", "nas_b"]
    groups = {
        name: [host["name"] for host in result["groups"] if name in host["groups"]]
        for name in ("uvnas_building", "uvnas_asked")
    }
    assert groups == {"uvnas_building": ["dev1", "node000", "node007"], "uvnas_asked": ["dev1"]}


def test_one_host_is_asked_about_a_share(site: Site) -> None:
    def asked(hosts: list[str]) -> dict[str, list[str]]:
        result, errors = site.run(hosts, writes=False, here=hosts[0])
        assert errors == []
        found = {host: [share["name"] for share in todo(result, host)["asks"]] for host in hosts}
        return {host: names for host, names in found.items() if names}

    only_b = {"uvnas_host_shares": ["nas_b"]}
    site.write(SITE, {"node1": only_b, "node2": {}, "node3": {}, "dev1": {"uvnas_host_shares": []}})
    # Its builder looks at a share, whether it uses it itself or not.
    assert asked(["node1", "node2", "node3", "dev1"]) == {"dev1": ["nas_b", "nas_a"]}
    assert asked(["node1", "node2", "node3"]) == {"node1": ["nas_b"], "node2": ["nas_a"]}


def tried_on(*hosts: str, at_least: int = 1) -> Host:
    try_on = {"hosts": list(hosts), "at_least": at_least}
    return {"uvnas_shares": SHARES, "uvnas_envs": [{**ENVS[0], "shares": ["nas_b"], "try_on": try_on}]}


def test_who_tries_environments_and_who_publishes_them(site: Site) -> None:
    only_a = {"uvnas_host_shares": ["nas_a"]}
    site.write(tried_on("node2", "node3"), {"dev1": {}, "node1": only_a, "node2": {}, "node3": only_a})
    result, errors = site.run(["dev1", "node1", "node2", "node3"])
    assert errors == []
    assert result["trials"] == {"train": {"hosts": ["node2", "node3"], "at_least": 1}}
    # The first node goes on where all builders have failed.
    assert [host["name"] for host in result["groups"] if "uvnas_trying" in host["groups"]] == ["dev1", "node1", "node2"]
    site.write(SITE, {"dev1": {}, "node1": only_a})
    result, _errors = site.run(["dev1", "node1"])
    assert not [host for host in result["groups"] if "uvnas_trying" in host["groups"]]


def test_a_trial_that_too_few_hosts_can_take_part_in(site: Site) -> None:
    hosts = {"dev1": {}, "node1": {"uvnas_host_shares": ["nas_a"]}, "node2": {}}
    assert problems(site, tried_on("node1", "node2", at_least=2), hosts) == [
        "environment train: try_on: at_least is 2, and of its hosts 1 (node2) uses a share that it is declared for"
    ]
    assert problems(site, tried_on("node1", "node2"), hosts) == []
    # Of hosts outside of the run nobody knows.
    site.write(tried_on("node1", at_least=1), hosts)
    _result, errors = site.run(["dev1", "node2"])
    assert errors == []


def test_the_environments_of_a_share(site: Site) -> None:
    envs = [*ENVS, {"name": "old", "state": "absent"}, {**ENVS[0], "name": "other", "shares": ["nas_b"]}]
    site.write({**SITE, "uvnas_envs": envs}, {"dev1": {}, "node1": {"uvnas_host_shares": ["nas_b"]}})
    result, errors = site.run(["dev1", "node1"])
    assert errors == []
    found = {share["name"]: share["environments"] for share in todo(result, "dev1")["shares"]}
    assert found == {"nas_a": ["train", "old"], "nas_b": ["train", "old", "other"]}
    assert [share["name"] for share in todo(result, "node1")["shares"]] == ["nas_b"]


# Prunes


def test_the_members_of_shares_are_those_of_the_whole_inventory(site: Site) -> None:
    """Whoever is not in this run may use them all the same."""
    hosts: dict[str, Host] = {
        "dev1": {"uvnas_host_shares": []},
        "node1": {},
        "node2": {"uvnas_host_shares": ["nas_b"]},
        # Which makes no sense.
        "node3": {"uvnas_host_shares": ["nas_z"]},
        "node4": {"uvnas_host_shares": {"nas_b": 1}},
    }
    site.write({**SITE, "uvnas_prune_without": ["node2", "job:c1/7", "node1"]}, hosts)
    result, errors = site.run(["dev1", "node1"], prunes=True)
    assert errors == []
    odd = ["node3", "node4"]
    assert result["pruning"] == {
        "members": {"nas_a": ["dev1", "node1", *odd], "nas_b": ["dev1", "node1", "node2", *odd]},
        "unseen": {},
        "without": ["job:c1/7", "node1", "node2"],
    }
    # It costs a look at all hosts, for nothing.
    assert "pruning" not in site.run(["dev1", "node1"])[0]


def test_shares_that_no_host_of_a_run_has(site: Site) -> None:
    more = [{"name": "only_a", "shares": ["nas_a"]}, {"name": "only_b", "shares": ["nas_b"]}, {"name": "everywhere"}]
    envs = [{**ENVS[0], **each} for each in more]
    hosts = {"dev1": {"uvnas_shares": SHARES[:1], "uvnas_envs": envs[:1]}, "dev2": {"uvnas_envs": envs}}
    site.write({"uvnas_shares": [SHARES[0], {**SHARES[1], "builder": "dev2"}]}, hosts)
    result, errors = site.run(["dev1"], prunes=True)
    assert errors == []
    assert result["pruning"]["unseen"] == {"nas_b": ["only_b", "everywhere"]}
    assert result["pruning"]["members"] == {"nas_a": ["dev1", "dev2"]}


def test_site_yml_prunes_where_it_is_told_to(site: Site) -> None:
    def pruning(variables: Host) -> list[str]:
        site.write({**SITE, **variables}, {"dev1": {}, "node1": {}})
        result, errors = site.run(["dev1", "node1"])
        assert errors == []
        assert ("pruning" in result) is bool(variables)
        return [host["name"] for host in result["groups"] if "uvnas_pruning" in host["groups"]]

    assert pruning({"uvnas_prune": True}) == ["dev1", "node1"]
    assert pruning({}) == []


def test_verify_yml_reads_everything_where_it_is_told_to(site: Site) -> None:
    """The builders do, and one host that goes on where they are all down."""

    def reading(variables: Host, hosts: list[str]) -> list[str]:
        site.write({**SITE, **variables}, {"dev1": {}, "node1": {}, "node2": {}})
        result, errors = site.run(hosts, writes=False)
        assert errors == []
        return [host["name"] for host in result["groups"] if "uvnas_reading" in host["groups"]]

    assert reading({"uvnas_deep": True}, ["dev1", "node1", "node2"]) == ["dev1", "node1"]
    assert reading({"uvnas_deep": "true"}, ["dev1"]) == ["dev1"]
    assert reading({}, ["dev1", "node1", "node2"]) == []


# The report


def test_where_a_report_goes(site: Site, tmp_path: Path) -> None:
    site.write(SITE, SAME)
    assert site.run([*SAME])[0]["report_file"] is None
    site.write({**SITE, "uvnas_report_file": "report.json", "uvnas_files_dir": str(tmp_path)}, SAME)
    for hosts in ([*SAME], None):
        result, errors = site.run(hosts)
        assert (result["report_file"], errors) == (str(tmp_path / "report.json"), [])
    # Where inventories are, Ansible would take it for one.
    (error,) = problems(site, {**SITE, "uvnas_report_file": "report.json"}, source="")
    assert "uvnas_report_file (report.json)" in error


def test_a_report_that_cannot_be_written(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, said in (
        (tmp_path / "no" / "report.json", "/no is not a directory; make it first"),
        (tmp_path / "file" / "report.json", "/file is not a directory"),
        (tmp_path, "something else than a file is there"),
        ("/dev/null", "something else than a file is there"),
    ):
        (error,) = problems(site, {**SITE, "uvnas_report_file": str(path)})
        assert error.startswith(f"uvnas_report_file: cannot write {path}: ")
        assert said in error
    site.write(SITE, {"dev1": {}, "node1": {"uvnas_report_file": "/x/y.json"}})
    _result, (error,) = site.run(["dev1", "node1"])
    assert error == (
        "uvnas_report_file: a run writes one report, and hosts are told different files: "
        "none for dev1; /x/y.json for node1"
    )


def test_a_role_alone_has_the_variables_of_its_task(site: Site) -> None:
    site.write({"uvnas_shares": SHARES}, SAME)
    result, errors = site.run(None, here="node001", of_play={"uvnas_host_shares": ["nas_b"]})
    assert errors == []
    assert [share["name"] for share in todo(result, "node001")["uses"]] == ["nas_b"]
    assert "groups" not in result


def test_what_a_play_is_given_as_a_whole_wins(site: Site) -> None:
    site.write({"uvnas_shares": SHARES, "uvnas_host_shares": ["nas_a"]}, SAME)
    given = {
        "uvnas_host_shares": ["nas_b"],
        "uvnas_profile_dir": "/etc/{{ inventory_hostname }}",
        "uvnas_purge": "what",
    }
    result, errors = site.run([*SAME], of_play={name: given[name] for name in ("uvnas_host_shares",)})
    assert errors == []
    assert {share["name"] for host in SAME for share in todo(result, host)["uses"]} == {"nas_b"}
    _result, errors = site.run([*SAME], of_play={"uvnas_profile_dir": "{{ inventory_hostname }}"})
    assert len(errors) == len(SAME)
    assert any(error.startswith("node003: 'node003' cannot hold profile files") for error in errors)


def test_what_a_play_is_given_needs_what_it_names_only(site: Site) -> None:
    # What else there is may be for other plays, where it has a value.
    site.write({"uvnas_shares": SHARES, "of_another_play": "{{ nobody_said }}"}, SAME)
    given = {"uvnas_profile_dir": "/etc/{{ inventory_hostname }}/{{ where }}", "where": "x"}
    _result, errors = site.run([*SAME], of_play=given)
    assert errors == []
    _result, errors = site.run([*SAME], of_play={"uvnas_profile_dir": "{{ of_another_play }}"})
    assert errors == ["uvnas_profile_dir: 'nobody_said' is undefined"]


@pytest.mark.parametrize(
    ("value", "of_play", "error"),
    [
        ("/etc/{{ where }}", {"where": "x"}, "uvnas_profile_dir: 'where' is undefined. "),
        ("/etc/{{ hostvars['node001']['inventory_hostname'] }}", {}, "uvnas_profile_dir: 'hostvars' is undefined. "),
        # Rendered with what the inventory has, it would be wrong; with what the play of the first host has, for others.
        ("/etc/{{ where | default('y') }}", {"where": "x"}, "uvnas_profile_dir has another value with its play's "),
    ],
)
def test_what_the_inventory_does_not_know(value: str, of_play: Host, error: str, site: Site) -> None:
    site.write({"uvnas_shares": SHARES, "uvnas_profile_dir": value}, {**SAME, "node001": {"uvnas_profile_dir": "/etc"}})
    _result, (said,) = site.run([*SAME], of_play=of_play)
    assert error in said
    assert said.endswith("Set what it needs with -e, or in the inventory.")


def test_what_only_another_host_has_and_cannot_be_rendered(site: Site) -> None:
    site.write({"uvnas_shares": SHARES}, {**SAME, "node001": {"uvnas_profile_dir": "{{ nobody_said }}"}})
    _result, (said,) = site.run([*SAME])
    assert said == "node001: uvnas_profile_dir: 'nobody_said' is undefined"


def test_a_declaration_that_was_not_checked() -> None:
    with pytest.raises(Exception, match="--start-at-task and --skip-tags always skip that"):
        todo({}, "node1")


# What is wrong


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        (
            {"uvnas_user_chache": "private"},
            "uvnas_user_chache is not a variable of uvnas.cluster; did you mean uvnas_user_cache?",
        ),
        ({"uvnas_my_nas": "/mnt"}, "uvnas_my_nas is not a variable of uvnas.cluster; name your own without uvnas_"),
        (
            {"uvnas_index": {"defualt": "https://x.example.org"}},
            "uvnas_index: unknown key defualt; did you mean default?",
        ),
        ({"uvnas_shares": [{**SHARES[0], "ownr": "uv"}]}, "share nas_a: unknown key ownr; did you mean owner?"),
        ({"uvnas_shares": [{"name": "nas_a", "builder": "dev1"}]}, "share nas_a: root is missing"),
        ({"uvnas_shares": {"nas_a": "/mnt"}}, "uvnas_shares must be a list of dictionaries, not {'nas_a': '/mnt'}"),
        ({"uvnas_shares": ["nas_a"]}, "share number 1 must be a dictionary with keys such as name, not 'nas_a'"),
        ({"uvnas_shares": [{**SHARES[0], "mode": 493}]}, "share nas_a: '493' is not a mode"),
        (
            {"uvnas_envs": [{"name": "x", "state": "absent", "nmae": "x"}]},
            "environment x: unknown key nmae; did you mean name?",
        ),
        ({"uvnas_envs": [{**ENVS[0], "python": 3.1}]}, f"environment train: python {NUMBER}"),
        (
            {"uvnas_envs": [{**ENVS[0], "requirements": "numpy>=2,<3"}]},
            "environment train: requirements must be a list, not 'numpy>=2,<3'",
        ),
        (
            {"uvnas_envs": [{**ENVS[0], "shares": ["nas_z"]}]},
            "environment train: unknown share nas_z; declared: nas_a, nas_b",
        ),
        ({"uvnas_shares": [{**SHARES[0], "a\rb": 1}]}, "share nas_a: unknown key 'a\\rb'; the keys are"),
        ({"uvnas_pythons": None}, "uvnas_pythons is empty; leave it out, or give it a list"),
        ({"uvnas_pythons": ["3.13", None]}, "uvnas_pythons has an empty item; leave it out"),
        ({"uvnas_envs": [{**ENVS[0], "imports": [None]}]}, "environment train: imports has an empty item"),
        ({"uvnas_envs": None}, "uvnas_envs is empty; leave it out, or give it a list"),
        ({"uvnas_pythons": 3.1}, f"uvnas_pythons {NUMBER}"),
        ({"uvnas_pythons": ["3.13", 3.1]}, f"uvnas_pythons {NUMBER}"),
        ({"uvnas_upgrade_pythons": [3.1]}, f"uvnas_upgrade_pythons {NUMBER}"),
        ({"uvnas_python_remove": [3.1]}, f"uvnas_python_remove {NUMBER}"),
        ({"uvnas_uv_version": 0.1}, "uvnas_uv_version must be a string; quote it"),
        ({"uvnas_site_pythons": [{"name": "x", "version": 3.1}]}, f"interpreter x: version {NUMBER}"),
        ({"uvnas_shares": [{**SHARES[0], "glibc": 2.3}]}, "share nas_a: glibc must be a string; quote it"),
        ({"uvnas_busy_timeout": "soon"}, "uvnas_busy_timeout must be a number, not 'soon'"),
        ({"uvnas_purge": "perhaps"}, "uvnas_purge must be true or false, not 'perhaps'"),
        ({"uvnas_profile_dir": "{{ nobody_said }}"}, "uvnas_profile_dir: 'nobody_said' is undefined"),
        (
            {"uvnas_profile_variables": {"UV_OFFLINE": "{{ nobody_said }}"}},
            "uvnas_profile_variables: 'nobody_said' is undefined",
        ),
        ({"uvnas_profile_variables": {"PATH": "/x"}}, "'PATH' cannot be exported from here"),
        (
            {"uvnas_upgrade": "trian"},
            "cannot upgrade trian: no such environment is declared. Declared: train. Or give all.",
        ),
        ({"uvnas_upgrade_pythons": "3.9"}, "upgrade names '3.9', which is not among the requested Pythons"),
        (
            {"uvnas_host_shares": ["nas_z"]},
            "uvnas_host_shares names unknown shares: nas_z. The shares in uvnas_shares are: nas_a, nas_b",
        ),
        ({"uvnas_host_shares": {"nas_a": 1}}, "uvnas_host_shares must be a list, not {'nas_a': 1}"),
        ({"uvnas_lock_dir": ["x"]}, "uvnas_lock_dir must be a path, not ['x']"),
        (
            {"uvnas_shares": [{**SHARES[0], "builder": "dev1.example.org"}]},
            "share nas_a: its builder dev1.example.org is not a host of this inventory; did you mean dev1?",
        ),
        (
            {"uvnas_shares": [{**SHARES[0], "builder": "saturn"}]},
            "share nas_a: its builder saturn is not a host of this inventory; its hosts are dev1",
        ),
        (
            {"uvnas_shares": [{**SHARES[0], "builder": "localhost"}]},
            "share nas_a: its builder localhost is not a host of this inventory; its hosts are dev1",
        ),
        ({"uvnas_shares": [{**SHARES[0], "builder": ""}]}, "share nas_a: builder is missing"),
        # Hosts may have other homes, and other variables, than the controller.
        ({"uvnas_shares": [{**SHARES[0], "root": "~/uv"}]}, "share nas_a: root '~/uv' is not an absolute path"),
        ({"uvnas_shares": [{**SHARES[0], "root": "$HOME/uv"}]}, "share nas_a: root '$HOME/uv' is not an absolute"),
        (
            {"uvnas_site_pythons": [{"name": "p", "version": "3.12.1", "prefix": "~/python"}]},
            "interpreter p: prefix must be an absolute path on the builder, not ~/python",
        ),
        ({"uvnas_uv_local_dirs": ["bin"]}, "uvnas_uv_local_dirs: bin is not an absolute path. Begin it with / or ~."),
        ({"uvnas_uv_source": "archive"}, "uvnas_uv_source is archive, but no archive is given. Set uvnas_uv_archive."),
        (
            {"uvnas_uv_source": "archive", "uvnas_uv_archive": {"url": "https://alice:geheim@example.org/uv.whl"}},
            "uvnas_uv_archive: an archive from a URL needs its sha256",
        ),
        (
            {"uvnas_site_pythons": [{"name": "p", "version": "3.12.1", "archive": "/gone/p.tar.gz"}]},
            "interpreter p: cannot read /gone/p.tar.gz: No such file or directory",
        ),
        ({"uvnas_answer_timeout": 0}, "uvnas_answer_timeout is 0; it must be a number of more than 0, in seconds"),
        ({"uvnas_smoke_timeout": "nan"}, "uvnas_smoke_timeout is nan; it must be a number of more than 0, in seconds"),
        ({"uvnas_busy_timeout": -1}, "uvnas_busy_timeout is -1; it must be a number of 0 or more, in seconds"),
        ({"uvnas_prune_settle": -1}, "uvnas_prune_settle is -1; it must be a number of 0 or more, in seconds"),
        (
            {"uvnas_verify_bytes_per_second": -1},
            "uvnas_verify_bytes_per_second is -1; it must be a number of 0 or more",
        ),
        ({"uvnas_verify_seconds": 0}, "uvnas_verify_seconds is 0; it must be a number of more than 0, in seconds"),
        ({"uvnas_keep": {"generations": -1}}, "uvnas_keep: generations is -1; it must be a number from 0 on"),
        ({"uvnas_keep": {"days": -0.5}}, "uvnas_keep: days is -0.5; it must be a number from 0 on"),
        ({"uvnas_keep": {"days": "nan"}}, "uvnas_keep: days is nan; it must be a number from 0 on"),
        ({"uvnas_keep": {"days": "a month"}}, "uvnas_keep.days must be a number, not 'a month'"),
        ({"uvnas_keep": {"day": 3}}, "uvnas_keep: unknown key day; did you mean days?"),
        (
            {"uvnas_prune_without": ["dev2"]},
            "uvnas_prune_without: dev2 is no host of this inventory; did you mean dev1?",
        ),
        (
            {"uvnas_prune_without": ["job:4711"]},
            "uvnas_prune_without: job:4711 is no job; write job:<cluster>/<number>",
        ),
    ],
)
def test_what_is_refused(variables: Host, error: str, site: Site) -> None:
    (said,) = problems(site, {**SITE, **variables})
    assert said.startswith(error)
    assert "\n" not in said


def test_everything_wrong_is_reported_at_once(site: Site) -> None:
    envs = [{**ENVS[0], "imports": ["a-b"]}, {"name": "other", "python": "3.12"}]
    said = problems(site, {**SITE, "uvnas_envs": envs, "uvnas_jbos": 1, "uvnas_profile_fish_dir": "here"})
    assert len(said) == 4


def test_a_mistake_is_reported_once_with_the_hosts_that_have_it(site: Site) -> None:
    hosts: dict[str, Host] = {**SAME, **{name: {"uvnas_user_chache": "private"} for name in NODES[:2]}}
    (said,) = problems(site, SITE, hosts)
    assert said.startswith("node000, node001: uvnas_user_chache is not a variable")


def test_of_a_whole_cluster_a_few_are_named(site: Site) -> None:
    hosts: dict[str, Host] = {"dev1": {}, **{name: {"uvnas_user_cache": "gruop"} for name in NODES}}
    (said,) = problems(site, SITE, hosts)
    assert said.startswith("node000, node001, node002, node003, node004 and 195 more hosts: uvnas_user_cache must be")


def test_a_mistake_of_all_hosts_names_none(site: Site) -> None:
    (said,) = problems(site, {**SITE, "uvnas_user_cache": "gruop"}, SAME)
    assert said.startswith("uvnas_user_cache must be one of")


def test_a_share_has_one_builder(site: Site) -> None:
    other = [{**SHARES[0], "builder": "node001"}]
    (said,) = problems(site, {"uvnas_shares": SHARES[:1]}, {"dev1": {}, "node001": {"uvnas_shares": other}})
    assert said == (
        "share nas_a: it has one builder, but hosts declare different ones: dev1 for dev1; node001 for node001"
    )


def test_a_builder_knows_what_it_builds(site: Site) -> None:
    hosts: dict[str, Host] = {"dev1": {"uvnas_shares": SHARES[:1]}, "node001": {}}
    (said,) = problems(site, {"uvnas_shares": SHARES}, hosts)
    assert said == "share nas_b: its builder dev1 does not have it in its own uvnas_shares, but node001 has"
    # A mistake is not told as another.
    hosts["dev1"] = {"uvnas_shares": "nas_a"}
    (said,) = problems(site, {"uvnas_shares": SHARES}, hosts)
    assert said.startswith("dev1: uvnas_shares must be a list")


def test_a_builder_that_this_run_leaves_out(site: Site) -> None:
    site.write(SITE, SAME)
    result, errors = site.run(["node001", "node002"], here="node001")
    assert errors == []
    assert result["warnings"] == [
        f"share {name}: its builder dev1 is not among the hosts of this run (--limit?), so nothing is built there"
        for name in ("nas_a", "nas_b")
    ]
    assert not site.run(["node001"], here="node001", writes=False)[0].get("warnings")


def test_a_key_that_is_not_a_string(site: Site) -> None:
    # JSON has no such keys; YAML has.
    site.write({}, {"dev1": {}})
    (site.inventory / "group_vars" / "all" / "more.yml").write_text(
        "uvnas_profile_variables: {on: 1}", encoding="utf-8"
    )
    _result, errors = site.run(["dev1"])
    assert errors == ["uvnas_profile_variables has a key that is not a string; quote it"]


def test_archives_are_for_hosts_that_install_them(site: Site) -> None:
    # Where this version is there already, the file may be gone.
    gone = {"uvnas_uv_archive": {"path": "/gone/uv.whl"}}
    hosts: dict[str, Host] = {**SAME, "dev1": gone, "node001": {"uvnas_uv_local_dirs": ["/usr/local/bin"]}}
    (said,) = problems(site, {**SITE, "uvnas_uv_source": "archive"}, hosts)
    assert said == "node001: uvnas_uv_source is archive, but no archive is given. Set uvnas_uv_archive."


def test_the_home_of_the_controller_is_that_of_its_own_paths(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "x.in").write_text("six\n", encoding="utf-8")
    envs = [{"name": "x", "python": "3.12", "requirements_files": ["x.in"]}]
    here = {"uvnas_files_dir": "~/files", "uvnas_lock_dir": "$HOME/locks", "uvnas_profile_dir": "~/profile.d"}
    assert problems(site, {**SITE, "uvnas_envs": envs, **here}) == []


def test_credentials_are_not_repeated(site: Site) -> None:
    url = "https://alice:geheim@example.org/simple"
    wrong = {
        "uvnas_profile_variables": {"UV_DEFAULT_INDEX": url},
        "uvnas_user_cache": url,
        "uvnas_index": {"default": [url]},
        "uvnas_uv_variables": [url],
        "uvnas_python_mirror": {"x": "geheim"},
    }
    said = "\n".join(problems(site, {**SITE, **wrong}))
    assert said.count("\n") == 3
    assert "geheim" not in said


def test_secrets_that_builds_would_inherit_are_refused(site: Site) -> None:
    (said,) = problems(site, {**SITE, "uvnas_uv_variables": {"HF_TOKEN": "geheim"}})
    assert said.startswith("uvnas_uv_variables has secrets")
    assert "HF_TOKEN" in said
    assert "geheim" not in said


# Where files are


@pytest.mark.parametrize(
    ("variables", "what"),
    [
        (
            {"uvnas_envs": [{"name": "train", "python": "3.12", "requirements_files": ["files/x.in"]}]},
            "environment train (files/x.in)",
        ),
        ({"uvnas_envs": [{"name": "x", "python": "3.12", "project": "projects/x"}]}, "environment x (projects/x)"),
        ({"uvnas_lock_dir": "{{ inventory_dir }}/locks"}, "uvnas_lock_dir (locks)"),
        ({"uvnas_lock_dir": "locks"}, "uvnas_lock_dir (locks)"),
        (
            {"uvnas_site_pythons": [{"name": "p", "version": "3.11.2", "archive": "files/p.tar.gz"}]},
            "interpreter p (files/p.tar.gz)",
        ),
    ],
)
def test_files_in_a_directory_that_is_an_inventory(variables: Host, what: str, site: Site) -> None:
    (said,) = [error for error in problems(site, {**SITE, **variables}, source=".") if "(-i)" in error]
    assert said.startswith(f"{site.inventory} is a directory that Ansible is given as an inventory (-i)")
    assert f"-i {site.inventory}/hosts.yml; or move these elsewhere: {what}" in said


def test_a_file_that_is_an_inventory_may_have_others_beside_it(site: Site) -> None:
    assert problems(site, {**SITE, "uvnas_lock_dir": "{{ inventory_dir }}/locks"}) == []
    outside = {"uvnas_lock_dir": str(site.path / "locks")}
    assert problems(site, {**SITE, **outside}, source=".") == []


def test_no_inventory_directory(site: Site) -> None:
    site.write({}, {})
    lock = {"name": "x", "python": "3.12", "lock": "files/x.txt"}
    built = [{**SHARES[0], "builder": "localhost"}]
    _result, told_once = site.run(
        ["localhost"], here="localhost", source="localhost,", of_play={"uvnas_shares": built, "uvnas_envs": [lock]}
    )
    assert [error for error in told_once if not error.startswith("without an inventory directory")] == []
    relative = {"uvnas_shares": [], "uvnas_envs": [lock]}
    _result, errors = site.run(["localhost"], here="localhost", source="localhost,", of_play=relative)
    assert errors == [
        (
            "without an inventory directory, relative paths have no start: set uvnas_files_dir, or make them absolute: "
            "environment x (files/x.txt)"
        )
    ]
    _result, errors = site.run(
        ["localhost"], here="localhost", source="localhost,", of_play={**relative, "uvnas_files_dir": str(site.path)}
    )
    assert errors == []


def test_files_of_what_is_absent_may_be_gone(site: Site) -> None:
    gone = {"name": "old", "state": "absent", "python": "3.12", "requirements_files": ["gone.txt"]}
    assert problems(site, {**SITE, "uvnas_envs": [*ENVS, gone]}) == []
    (said,) = problems(site, {**SITE, "uvnas_envs": [{**gone, "state": "present"}]})
    assert said == f"environment old: cannot read {site.inventory}/gone.txt: No such file or directory"


def test_a_kept_lock_that_was_spoilt(site: Site) -> None:
    (site.path / "train.txt").write_text("numpy\n", encoding="utf-8")
    (said,) = problems(site, {**SITE, "uvnas_lock_dir": str(site.path)})
    assert said.startswith(f"environment train: {site.path}/train.txt is not a lock")
