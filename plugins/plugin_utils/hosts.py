# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared for hosts: the values of their variables, from whatever source, rendered for each of them."""

from __future__ import annotations

import contextlib
import typing as t

import jinja2
from ansible.errors import AnsibleError
from ansible.template import trust_as_template

from .variables import CUT_OFF, PREFIX

Variables = t.Mapping[str, t.Any]
_HINT = (
    "Inventory variables are checked without hostvars, and without the variables of a play "
    "(vars of import_playbook). Set what it needs with -e, or in the inventory."
)


class Templar(t.Protocol):
    """Ansible's templar of a task."""

    def template(self, variable: t.Any, /) -> t.Any:
        """``variable``, rendered."""

    def is_template(self, data: t.Any, /) -> bool:
        """Whether ``data`` has anything to render."""

    def copy_with_new_env(self, *, available_variables: dict[str, t.Any]) -> Templar:
        """A templar with other variables."""


class UndefinedValueError(Exception):
    """A value cannot be rendered."""


class OneHost:
    """The host of a task. Its variables are complete: roles have added theirs."""

    def __init__(self, templar: Templar, task_vars: Variables) -> None:
        self.hosts: t.Sequence[str] = [task_vars["inventory_hostname"]]
        self._templar = templar
        self._task_vars = task_vars

    def names(self, _host: str) -> set[str]:
        """The names of variables that look like the collection's, or like a part of one that was cut off."""
        return _ours(self._task_vars)

    def value(self, _host: str, name: str) -> t.Any:
        """The value of a variable. Raises UndefinedValueError."""
        return _rendered(lambda: self._templar.template(self._task_vars[name]), name)

    def context(self, _host: str) -> Variables:
        """Everything known about the host, rendered on demand."""
        return self._task_vars


class ManyHosts:
    """The hosts of a play, seen from a task of one of them.

    The play's own variables (``vars`` of ``import_playbook``) are not among ``hostvars``, and win over those that are.
    """

    def __init__(self, templar: Templar, task_vars: Variables, hosts: t.Sequence[str]) -> None:
        self.hosts = hosts
        self._templar = templar
        self._task_vars = task_vars
        self._hostvars = task_vars["hostvars"]
        self._host: tuple[str, Variables] = ("", {})
        self._of_play: set[str] = set()
        self._unsure: set[str] = set()
        self._look_at_play()

    def _look_at_play(self) -> None:
        """Find the variables whose value in the task is not the inventory's."""
        here = self._task_vars["inventory_hostname"]
        mine = self.context(here)
        for name in (name for name in self._task_vars if name.startswith(PREFIX)):
            if name not in mine:
                self._of_play.add(name)
                continue
            value = self._task_vars[name]
            with contextlib.suppress(AnsibleError):  # Whoever asks for it gets the error.
                if self._templar.template(value) == mine[name]:
                    continue
                if self._for_inventory(here).template(value) == mine[name]:
                    # It comes from the inventory, which may give other hosts another one.
                    self._unsure.add(name)
                else:
                    self._of_play.add(name)

    def _for_inventory(self, host: str) -> Templar:
        """A templar that knows what the inventory says about a host."""
        return self._templar.copy_with_new_env(available_variables=self._on_demand(host))

    def _on_demand(self, host: str) -> dict[str, t.Any]:
        """Everything known about a host. Only what a template names is rendered; the rest might fail."""
        known = {name: trust_as_template(f"{{{{ hostvars[{host!r}][{name!r}] }}}}") for name in self.context(host)}
        return {**known, "hostvars": self._hostvars}

    def names(self, host: str) -> set[str]:
        """The names of variables that look like the collection's, or like a part of one that was cut off."""
        return _ours(self.context(host)) | self._of_play

    def value(self, host: str, name: str) -> t.Any:
        """The value of a variable. Raises UndefinedValueError."""
        if name in self._unsure:
            raise UndefinedValueError(f"{name} has another value with its play's variables. {_HINT}")
        if name not in self._of_play:
            try:
                return _rendered(lambda: self.context(host)[name], name)
            except UndefinedValueError as error:
                raise UndefinedValueError(f"{error}. {_HINT}" if self._play_knows(name) else str(error)) from error
        value, templar = self._task_vars[name], self._templar
        if templar.is_template(value):
            of_play = {key: item for key, item in self._task_vars.items() if key not in self.context(host)}
            theirs = {**self._on_demand(host), **of_play}
            templar = templar.copy_with_new_env(available_variables=theirs)
        return _rendered(lambda: templar.template(value), name)

    def _play_knows(self, name: str) -> bool:
        """Whether a variable that the inventory alone cannot render has a value in the task."""
        try:
            _rendered(lambda: self._templar.template(self._task_vars.get(name)), name)
        except UndefinedValueError:
            return False
        return name in self._task_vars

    def context(self, host: str) -> Variables:
        """Everything known about a host, rendered on demand."""
        if self._host[0] != host:  # Making it takes as long as rendering some.
            self._host = (host, self._hostvars[host])
        return self._host[1]


Hosts = OneHost | ManyHosts


def _ours(names: t.Iterable[str]) -> set[str]:
    return {name for name in names if name.startswith(PREFIX) or name == CUT_OFF}


def _rendered(render: t.Callable[[], t.Any], name: str) -> t.Any:
    try:
        return _render_deeply(render())
    except (AnsibleError, jinja2.UndefinedError) as error:
        raise UndefinedValueError(f"{name}: {error}") from error


def _render_deeply(value: t.Any) -> t.Any:
    """``value`` with every template in it rendered. Raises UndefinedError if one needs what nobody defined."""
    if isinstance(value, jinja2.Undefined):
        return str(value)  # This raises.
    if isinstance(value, t.Mapping):
        return {key: _render_deeply(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [_render_deeply(item) for item in value]
    return value
