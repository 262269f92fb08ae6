# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared for each host of a play, checked on the controller before any host is asked to do something.

Each host's variables count, but most are the same for all hosts: one that is the very same object in the inventory,
with no template in it, is looked at once.
"""

from __future__ import annotations

import typing as t

import jinja2
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.template import Templar

from ..module_utils.errors import UvnasError
from ..module_utils.host.secrets import scrub
from ..module_utils.profile import files
from ..module_utils.profile.spec import Profile
from ..module_utils.uv.command import Index
from ..module_utils.uv.config import check_variables
from .exports import exports

Options = t.Mapping[str, t.Mapping[str, t.Any]]


class HostVariables(t.Protocol):
    """Ansible's ``hostvars``."""

    def __getitem__(self, key: str, /) -> t.Mapping[str, t.Any]:
        """The variables of a host, rendered when asked for."""

    def raw_get(self, host_name: str, /) -> t.Mapping[str, t.Any]:
        """The variables of a host, as they were written."""


def problems(
    hosts: t.Sequence[str], hostvars: HostVariables, options: Options, shares: t.Sequence[t.Mapping[str, t.Any]]
) -> list[str]:
    """What is wrong with variables of ``hosts``, a text each that begins with the hosts' names.

    ``options`` are the argument specs of all roles, ``shares`` are for hosts that have no ``uvnas_shares`` themselves.
    """
    found: dict[str, list[str]] = {}
    values = _Values(hostvars, options)
    for host in hosts:
        given, wrong = values.of(host)
        if not wrong:
            wrong = _of_uv(given) + _of_profile({"uvnas_shares": shares, **given}, options)
        for text in wrong:
            found.setdefault(text, []).append(host)
    return [f"{_names(named)}: {text}" for text, named in found.items()]


class _Values:
    """Values of the variables that roles know, by host."""

    def __init__(self, hostvars: HostVariables, options: Options) -> None:
        self._hostvars = hostvars
        self._options = options
        self._templar = Templar(loader=None)
        # By name and identity; the raw value is kept, so that its identity stays its own.
        self._seen: dict[tuple[str, int], tuple[t.Any, t.Any, list[str]]] = {}

    def of(self, host: str) -> tuple[dict[str, t.Any], list[str]]:
        """The values of a host, with their types as the roles declare them, and what is wrong with them."""
        raw = self._hostvars.raw_get(host)
        rendered: t.Mapping[str, t.Any] | None = None
        values, wrong = {}, []
        for name in self._options:
            if name not in raw:
                continue
            key = (name, id(raw[name]))
            if key in self._seen:
                _raw, values[name], errors = self._seen[key]
            else:
                rendered = rendered or self._hostvars[host]
                values[name], errors = self._checked(name, rendered)
                if not self._templar.is_template(raw[name]):
                    self._seen[key] = (raw[name], values[name], errors)
            wrong += errors
        return values, wrong

    def _checked(self, name: str, rendered: t.Mapping[str, t.Any]) -> tuple[t.Any, list[str]]:
        try:
            value = _rendered(rendered[name])
            done = ArgumentSpecValidator({name: self._options[name]}).validate(
                {name: value}, validate_role_argument_spec=True
            )
        except (AnsibleError, jinja2.UndefinedError) as error:
            return None, [f"{name}: {error}"]
        except TypeError:  # Of Ansible, which takes keys for texts. In YAML, "on" is none.
            return None, [f"{name}: a key in it is no text; put it in quotes"]
        if name == "uvnas_host_shares" and not isinstance(value, list):
            return None, [f"{name} must be a list of names of shares, not {value!r}"]
        return done.validated_parameters.get(name), [scrub(text) for text in done.error_messages]


def _rendered(value: t.Any) -> t.Any:
    """``value`` with every template deep inside rendered. Raises UndefinedError where one needs what nobody said."""
    if isinstance(value, jinja2.Undefined):
        return str(value)  # This is what raises.
    if isinstance(value, t.Mapping):
        return {key: _rendered(value[key]) for key in value}
    if isinstance(value, list):
        return [_rendered(item) for item in value]
    return value


def _of_uv(given: t.Mapping[str, t.Any]) -> list[str]:
    """What uv could not be told of the values of one host."""
    try:
        Index.from_params(given.get("uvnas_index")).check()
        check_variables(given.get("uvnas_uv_variables") or {})
    except UvnasError as error:
        return [error.explain()]
    return []


def _of_profile(given: t.Mapping[str, t.Any], options: Options) -> list[str]:
    """What the role profile could not do with the values of one host; empty where it can."""

    def value(name: str) -> t.Any:
        return given[name] if name in given else options[name].get("default")

    names = given.get("uvnas_host_shares")
    shares = value("uvnas_shares") or ()
    try:
        paths = files.paths(value("uvnas_profile_dir"), value("uvnas_profile_fish_dir"))
        exported = exports(
            [share["name"] for share in shares] if names is None else names,
            shares=shares,
            index=value("uvnas_index") or {},
            python_mirror=value("uvnas_python_mirror"),
            variables=value("uvnas_profile_variables") or {},
        )
        if exported["shares"]:
            profile = Profile.from_params(exported["shares"], value("uvnas_user_cache"), exported["variables"])
            files.contents(profile, paths)
    except UvnasError as error:
        return [error.explain()]
    return []


def _names(hosts: t.Sequence[str]) -> str:
    """Names of hosts for a message; of a whole cluster, a few."""
    few = ", ".join(hosts[:5])
    return few if len(hosts) <= 5 else f"{few} and {len(hosts) - 5} more hosts"
