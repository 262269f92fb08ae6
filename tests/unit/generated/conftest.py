# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests with generated input: the same few of it in every run; or with UVNAS_SOAK, that many of it, others each time.

What such a run finds is fixed, and stays as an example of its own.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

_COMMON = settings(deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck))
settings.register_profile("unit", _COMMON, derandomize=True, max_examples=60, phases=[Phase.explicit, Phase.generate])
settings.register_profile("soak", _COMMON, derandomize=False, max_examples=int(os.environ.get("UVNAS_SOAK") or 1))
settings.load_profile("soak" if os.environ.get("UVNAS_SOAK") else "unit")
