# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every promise of the pages *Guarantees*, *Security* and *NFS* names tests that attack it, and these exist."""

from __future__ import annotations

import re

import pytest
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT

_ATTACK = re.compile(r"``(?P<file>\S+\.py)::(?P<test>test_\w+)``")
PAGES = {
    name: (ROOT / "docs" / "docsite" / "rst" / f"{name}.rst").read_text(encoding="utf-8")
    for name in ("guarantees", "security", "nfs")
}


def promises(page: str) -> list[str]:
    """The promises of a page. Each begins with bold text at the beginning of a line."""
    promised = page.partition("What is promised\n")[2].partition("What is not promised\n")[0]
    return re.split(r"^(?=\*\*)", promised, flags=re.M)[1:]


@pytest.mark.parametrize(
    "promise", [promise for page in PAGES.values() for promise in promises(page)], ids=lambda text: text.split("\n")[0]
)
def test_a_promise_has_tests_that_attack_it(promise: str) -> None:
    attacks = _ATTACK.findall(promise)
    assert attacks
    for file, test in attacks:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.M), f"{file} has no {test}"


@pytest.mark.parametrize(("name", "least"), [("guarantees", 11), ("security", 8), ("nfs", 5)])
def test_no_attack_is_named_in_another_way(name: str, least: int) -> None:
    """It would not be looked for."""
    assert len(re.findall(r"::test_", PAGES[name])) == len(_ATTACK.findall(PAGES[name]))
    assert len(promises(PAGES[name])) > least
