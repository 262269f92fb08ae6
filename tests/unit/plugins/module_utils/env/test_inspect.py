# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a share, on real files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.inspect import Inspection
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.unit import whole_share

ID = "0123456789ab"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(shares.make_share(tmp_path)))


@pytest.fixture
def inspection(layout: Layout) -> Inspection:
    return Inspection(Share("nas_a", layout))


def publish(layout: Layout, name: str = "analysis") -> None:
    shares.add_generation(Path(layout.root), name, ID)
    shares.publish(Path(layout.root), name, ID)


def test_facts(inspection: Inspection, layout: Layout) -> None:
    publish(layout)
    for name in ("aaaaaaaaaaaa", ".0123.host.17.tmp"):
        os.makedirs(layout.generation("analysis", name))
    facts = inspection.facts("analysis", sizes=False)
    assert facts.pop("age_seconds") > 0
    manifest = shares.manifest("analysis", ID)
    assert facts == {
        **{key: manifest[key] for key in ("id", "created", "python", "uv", "packages", "platform", "size", "source")},
        "name": "analysis",
        "path": layout.env("analysis"),
        "package_count": 1,
        "generations": [ID, "aaaaaaaaaaaa"],
        "since": "2026-01-31T12:01:00+00:00",
        "held": None,
    }
    assert inspection.facts("analysis", sizes=True)["true_size"]["bytes"] > 0


@pytest.mark.parametrize("how", ["add", "remove", "grow", "edit"])
def test_whether_it_is_as_it_was_built(tmp_path: Path, how: str) -> None:
    made = whole_share.make(tmp_path)
    looking = Inspection(made.share)

    def seen() -> bool | None:
        answer: bool | None = looking.facts("train", sizes=True)["generation_sizes"][0]["as_built"]
        return answer

    assert seen() is True
    path = made.file("alpha/core.py")
    if how == "add":
        whole_share.add(path.with_name("added.py"))
    elif how == "remove":
        whole_share.remove(path)
    else:
        content = path.read_bytes()
        whole_share.opened(path).write_bytes(content + b"#" if how == "grow" else content[::-1])
    # Nobody has read it.
    assert seen() is (how == "edit")


def test_there_are_no_facts_of_what_is_not_there(inspection: Inspection, layout: Layout) -> None:
    with pytest.raises(UvnasError, match="environment analysis is not published on share nas_a"):
        inspection.facts("analysis", sizes=False)
    publish(layout)
    os.unlink(layout.manifest("analysis", ID))
    with pytest.raises(UvnasError, match=f"its generation {ID} is not complete"):
        inspection.facts("analysis", sizes=False)
    os.symlink("/opt/elsewhere", layout.env("foreign"))
    with pytest.raises(UvnasError, match="its link points to /opt/elsewhere"):
        inspection.facts("foreign", sizes=False)
