# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx settings for `make docs`. The pages come from the modules, the roles' argument specs, and docs/docsite/rst."""

from __future__ import annotations

import re
import typing as t

from docutils import nodes

project = "uvnas.cluster"
copyright = "The uvnas.cluster contributors"  # noqa: A001  # The name that Sphinx wants.
html_title = "uvnas.cluster"
html_short_title = html_title
html_theme = "alabaster"
html_theme_options = {
    "description": "Python environments with uv on shared filesystems",
    "fixed_sidebar": False,
    "font_family": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
    "font_size": "16px",
    "page_width": "1200px",
    "show_relbar_bottom": True,
    "sidebar_width": "250px",
}
html_static_path = ["_static"]  # custom.css, which the theme links.
templates_path = ["_templates"]
html_show_sphinx = False
html_show_sourcelink = False
highlight_language = "YAML+Jinja"
default_role = "any"

extensions = ["sphinx_antsibull_ext"]
exclude_patterns = ["environment_variables.rst"]  # The collection has none.

# Where the generated pages refer to Ansible's own. Intersphinx would know, but would need the network for each build.
_ANSIBLE = "https://docs.ansible.com/projects/ansible/latest/"
_ANSIBLE_PAGES = {
    "action_plugins": "plugins/action.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
_BUILTIN = re.compile(r"ansible_collections\.ansible\.builtin\.(?P<page>\w+_(?:filter|lookup|module|test))\b")


def _link_to_ansible(_app: t.Any, _env: t.Any, node: t.Any, content: nodes.Element) -> nodes.reference | None:
    """The link for a label of Ansible's documentation; None, and so an error of the build, for any other."""
    target = node["reftarget"]
    builtin = _BUILTIN.match(target)
    page = f"collections/ansible/builtin/{builtin['page']}.html" if builtin else _ANSIBLE_PAGES.get(target)
    if page is None:
        return None
    link = nodes.reference("", "", internal=False, refuri=_ANSIBLE + page)
    link += content
    return link


def setup(app: t.Any) -> None:
    app.connect("missing-reference", _link_to_ansible)
