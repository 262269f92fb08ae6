# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Between AnsibleModule and the rest of the collection. The only file of module_utils that sees Ansible."""

from __future__ import annotations

import os
import signal
import typing as t

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible.module_utils.secrets import register_secrets  # type: ignore[import-not-found,unused-ignore]
except ImportError:  # Before ansible-core 2.22, where nothing but no_log_values counts.
    register_secrets = None

from .errors import UvnasError, from_os_error
from .host import in_use, secrets
from .host.progress import SILENT, Progress
from .host.users import User, by_number, user_to_become
from .host.watchdog import call_watched
from .host.workers import Result, Work, call_as
from .share import owner


def run(
    module: AnsibleModule,
    work: Work,
    *,
    share: t.Optional[str] = None,
    as_owner: bool = False,
    progress: Progress = SILENT,
    done: t.Callable[[Result], None] = lambda _result: None,
) -> t.NoReturn:
    """Do ``work`` and end the module with its result.

    With ``share``, the root of one, this process itself touches no share, so it ends even if a NAS hangs.
    With ``as_owner`` the work is done as the module's ``owner``; when root connects without one, as the user that
    the share belongs to. ``work`` returns the module's result: plain data, with ``changed``, and perhaps ``warnings``
    (list of str), ``left`` (from a converge) and ``failed`` (bool) with ``msg``. A UvnasError or an OSError that it
    raises becomes ``fail_json``. ``done`` gets the result in this process, before anybody else sees it: for what the
    owner may not do on this host. Either way the result has the stages of ``progress``, if anybody follows them.
    """
    os.umask(0o022)  # The admin's own must not decide who can use a share.
    # If whoever started this ignores the signal, so would we, and the kernel would not report how a child ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        user = _owner(module, share) if as_owner else None
        if share is not None:
            result = _watched(module, work, user)
        else:
            result = call_as(user, work) if user is not None else work()
    except UvnasError as error:
        fail(module, error, **_stages(progress))
    except OSError as error:
        fail(module, from_os_error(error), **_stages(progress))
    done(result)
    result.update(_stages(progress))
    # Here rather than at the removal: this process may be root, who sees whose processes are in the way.
    for warning in [*result.pop("warnings", []), *in_use.warnings(result.pop("left", []))]:
        module.warn(warning)
    if result.get("failed"):
        module.fail_json(**{"msg": "failed", **result})
    module.exit_json(**result)


def _stages(progress: Progress) -> Result:
    return {"progress": progress.stages()} if progress.heard else {}


def call_as_owner(module: AnsibleModule, work: Work, shares: t.Mapping[str, str]) -> Result:
    """The result of ``work`` on the module's share, and on others of the host, as its owner; for ``done`` of run().

    Raises UvnasError, also if one of ``shares``, the names by the roots, does not answer. Warns of nothing.
    """
    user = _owner(module, module.params["share"], warn=False)
    return call_watched(work, shares=shares, timeout=module.params["answer_timeout"], user=user)


def _owner(module: AnsibleModule, share: t.Optional[str], *, warn: bool = True) -> t.Optional[User]:
    """The user to become in order to work as the owner; None if this process stays who it is."""
    declared = module.params.get("owner")
    user = user_to_become(declared)
    if user is not None or share is None or os.geteuid() != 0:
        return user

    def look() -> Result:
        found = owner.owner_of(share)
        return {"number": [found.uid, found.gid] if found else None}

    number = _watched(module, look)["number"]
    if number is None:  # The work will say that there is no share.
        return None
    user = owner.unprivileged(by_number(*number)) if number[0] != 0 else None
    if declared is None and "owner" in module.params and warn:  # Without the option nothing is written.
        module.warn(owner.undeclared_owner(module.params["share_name"], share, user))
    elif declared is not None and user is not None:
        raise owner.not_roots(module.params["share_name"], share, user)
    return user


def _watched(module: AnsibleModule, work: Work, user: t.Optional[User] = None) -> Result:
    name = module.params.get("share_name")

    def named() -> Result:
        """The system's errors name a path at best; add the share that it belongs to."""
        try:
            return work()
        except OSError as error:
            known = from_os_error(error)
            raise UvnasError(f"share {name}: {known}" if name else str(known), hint=known.hint) from error

    return call_watched(named, shares=_shares(module), timeout=module.params["answer_timeout"], user=user)


def _shares(module: AnsibleModule) -> dict[str, str]:
    """The roots of all shares that a module looks at, with their names as far as it knows them."""
    params = module.params
    others = {share["root"]: share["name"] for share in params.get("earlier_shares") or ()}
    return {params["share"]: params.get("share_name") or "", **others}


def fail(module: AnsibleModule, error: UvnasError, **result: t.Any) -> t.NoReturn:
    """End the module with ``error``: what happened, then the tool's own output, then what to do."""
    module.fail_json(**{**error.as_dict(), **result, "msg": error.explain()})


def hide_variables(module: AnsibleModule, variables: t.Mapping[str, t.Any]) -> None:
    """Keep the secrets among uv's variables out of all output, and let the rest be seen.

    The option is ``no_log``. Without this, every ``0`` of a checksum would be blotted out where UV_HTTP_RETRIES is 0.
    """
    for name, value in variables.items():
        if not secrets.is_secret_name(name):
            _hide(module, str(value), secrets.in_url(secrets.as_url(name, str(value))))


def hide_secrets(module: AnsibleModule, urls: t.Iterable[str]) -> None:
    """Keep the credentials in ``urls`` out of all output, and let the rest of each URL be seen.

    The options that carry them are ``no_log``, which keeps them out of the system log, but would also blot out the
    plain address of an index in errors, where an admin needs to see it.
    """
    for url in urls:
        _hide(module, url, secrets.in_url(url))


def _hide(module: AnsibleModule, value: str, found: t.Collection[str]) -> None:
    """Hide the secrets ``found`` in the value of an option; if there are none, show all of it."""
    if found:
        module.no_log_values.update(found)
        if register_secrets is not None:
            register_secrets(found)
    else:
        module.no_log_values.discard(value)
