# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every promise of the page *Security* names tests that attack it, and these exist."""

from __future__ import annotations

import re

import pytest
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT

PAGE = (ROOT / "docs" / "docsite" / "rst" / "security.rst").read_text(encoding="utf-8")
_ATTACK = re.compile(r"``(?P<file>\S+\.py)::(?P<test>test_\w+)``")
# A promise begins with bold text at the beginning of a line.
_PROMISED = PAGE.partition("What is promised\n")[2].partition("What is not promised\n")[0]
PROMISES = re.split(r"^(?=\*\*)", _PROMISED, flags=re.M)


@pytest.mark.parametrize("promise", PROMISES[1:], ids=lambda text: text.split("\n")[0])
def test_a_promise_has_tests_that_attack_it(promise: str) -> None:
    attacks = _ATTACK.findall(promise)
    assert attacks
    for file, test in attacks:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.M), f"{file} has no {test}"


def test_no_attack_is_named_in_another_way() -> None:
    """It would not be looked for."""
    assert len(re.findall(r"::test_", PAGE)) == len(_ATTACK.findall(PAGE))
    assert len(PROMISES) > 8
