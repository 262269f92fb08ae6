# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by `make schema`, from meta/schema.yml.

from __future__ import annotations


class ModuleDocFragment:
    """The option of every module that runs uv; the argument spec is options.UV_VARIABLES."""

    DOCUMENTATION = r"""
options:
  uv_variables:
    description:
      - Variables for uv, such as proxies or certificates. Builds get them too, except for the credentials of indexes,
        mirrors and proxies. Other secrets are refused.
      - C(*_PROXY), C(SSL_CERT_*), C(NETRC), C(TMPDIR), C(UV_HTTP_*), C(UV_CONCURRENT_*), C(UV_INDEX_*_USERNAME) and
        C(UV_INDEX_*_PASSWORD) are inherited from the module's environment anyway, so the keyword C(environment) of a
        task or play works too. Do not put credentials there, as Ansible passes it on a command line.
    type: dict
    default: {}
"""
