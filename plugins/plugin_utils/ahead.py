# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the first module of site.yml is asked about those after it, so that they need not be started (see uv_share).

It is all of a host or nothing: where one module has something to do on one of the shares that a host builds, each of
them is run, and decides for itself. That is so, too, wherever a module is told something else than was asked about.
"""

from __future__ import annotations

import json
import os
import typing as t

from ..module_utils.env.lock.plan import Input
from ..module_utils.env.spec import EnvironmentSpec
from ..module_utils.host import checksum
from ..module_utils.host.urls import split_url
from ..module_utils.host.workers import Result
from . import answers

# What a host does that is asked, and what it has answered.
_DECLARED, _ANSWERED = "__uvnas_declared", "__uvnas_shares_done"
PROFILE, VERIFY = "uv_profile", "uv_env_info"
# What a module that had nothing to do returns. Nothing else that a host says is passed on.
_RETURNED = {
    "uv_binary": ("version", "previous_version", "executable", "actions"),
    "uv_python": ("actions", "pythons"),
    "uv_env": ("environments",),
    PROFILE: ("files", "home_share"),
    VERIFY: ("share_name", "share_id", "environments", "problems", "tried"),
}

Values = t.Mapping[str, t.Any]
Questions = dict[str, dict[str, t.Any]]


def are_worth_asking(values: Values, run_tags: t.Collection[str]) -> bool:
    """Whether there may be nothing to do: not where something is to be upgraded, and only if uv_share is run."""
    upgrades = ("uvnas_upgrade", "uvnas_upgrade_packages", "uvnas_upgrade_pythons")
    return not any(values[name] for name in upgrades) and not {"all", "tagged", "share"}.isdisjoint(run_tags)


def questions(
    values: Values,
    builds: t.Sequence[t.Mapping[str, t.Any]],
    specs: t.Iterable[EnvironmentSpec],
    inputs: t.Mapping[str, Input],
    exports: t.Mapping[str, t.Any],
) -> dict[str, Questions]:
    """What is asked, by the shares that a host builds: the options of modules that decide whether there is work.

    Raises OSError, UvnasError.
    """
    sites = [_on_host(item, values["uvnas_files_dir"]) for item in values["uvnas_site_pythons"]]
    found = {share["name"]: _of_share(values, share, specs, inputs, sites) for share in builds}
    glibc = {share["name"]: share.get("glibc") for share in values["uvnas_shares"]}
    for name in found.keys() & set(values["uvnas_host_shares"]) if values["uvnas_verify"] != "always" else ():
        found[name][VERIFY] = {"verify_again": False, "glibc": glibc[name]}
    # That is once for the host.
    found[builds[0]["name"]][PROFILE] = _of_profile(values, exports)
    return found


def _of_share(
    values: Values,
    share: t.Mapping[str, t.Any],
    specs: t.Iterable[EnvironmentSpec],
    inputs: t.Mapping[str, Input],
    sites: list[dict[str, t.Any]],
) -> Questions:
    here = [spec for spec in specs if spec.on_share(share["name"])]
    return {
        "uv_binary": {"version": values["uvnas_uv_version"]},
        "uv_python": {
            "pythons": share["pythons"],
            "site_pythons": sites,
            "offline": values["uvnas_python_offline"],
            "upgrade": [],
            "remove": values["uvnas_python_remove"],
            "compile_bytecode": values["uvnas_python_compile_bytecode"],
            "earlier_shares": share["earlier"],
        },
        "uv_env": {
            "environments": [spec.as_dict() for spec in here],
            "inputs": {spec.name: inputs[spec.name].as_dict(with_texts=False) for spec in here if spec.present},
            "upgrade": [],
            "upgrade_packages": [],
            "earlier_shares": share["earlier"],
            "purge": values["uvnas_purge"],
        },
    }


def _of_profile(values: Values, exports: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        "shares": exports["shares"],
        "directory": values["uvnas_profile_dir"],
        "fish_directory": values["uvnas_profile_fish_dir"],
        "user_cache": values["uvnas_user_cache"],
        "user_cache_users": values["uvnas_user_cache_users"],
        "variables": exports["variables"],
        "withheld": exports["withheld"],
        "state": "present" if exports["shares"] else "absent",
    }


def _on_host(item: t.Mapping[str, t.Any], directory: str) -> dict[str, t.Any]:
    """A site-supplied interpreter as its host hears of it: with the name and the checksum of its archive alone."""
    found = {key: value for key, value in item.items() if value is not None}
    source = found.get("archive")
    if not source:
        return found
    if "://" in source:
        return {**found, "archive": os.path.basename(split_url(source).path)}
    path = os.path.join(directory, os.path.expanduser(source))
    return {**found, "archive": os.path.basename(path), "sha256": checksum.of_file(path)}


def answer(
    task_vars: t.Mapping[str, t.Any] | None, module: str, told: t.Mapping[str, t.Any], share: str = ""
) -> Result | None:
    """What a host has answered about a module that is now ``told`` this; None if the module has to be run.

    ``share``: the name of the one that it is about; empty if it is about the host.
    """
    known = task_vars or {}
    host, declared = str(known.get("inventory_hostname")), answers.mapping(known.get(_DECLARED))
    number = answers.mapping(declared.get("hosts")).get(host)
    asked = answers.mapping(declared["work"][number].get("ahead")) if number is not None else {}
    found = {name: _answers(known.get(_ANSWERED), name) for name in asked}
    # Of every share, and about everything but what has to be verified anew.
    if not asked or any(found[name].keys() | {VERIFY} != asked[name].keys() | {VERIFY} for name in asked):
        return None
    for name in [share] if share else asked:
        question = answers.mapping(asked.get(name)).get(module)
        if (
            module in found[name]
            and question is not None
            and all(_same(told[key], value) for key, value in question.items() if key in told)
        ):
            return _as_returned(module, answers.mapping(found[name][module]))
    return None


def _same(one: t.Any, other: t.Any) -> bool:
    """Whether two values are the same as data: what has been registered has no tuples any more."""
    return json.dumps(one, sort_keys=True, default=str) == json.dumps(other, sort_keys=True, default=str)


def _as_returned(module: str, said: t.Mapping[str, t.Any]) -> Result:
    result = {"changed": False, **{key: said[key] for key in _RETURNED[module] if key in said}}
    warnings = answers.texts(said.get("warnings"))
    return {**result, "warnings": warnings} if warnings else result


def _answers(registered: t.Any, share: str) -> t.Mapping[str, t.Any]:
    said = answers.of_loop(registered, share)
    return answers.mapping(said[-1].get("ahead")) if said else {}
