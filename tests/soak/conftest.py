# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults at random moments, as many as time permits: run by make soak, not by make test."""

from __future__ import annotations

from ansible_collections.uvnas.cluster.tests.support.soaking import SEED


def pytest_report_header() -> str:
    return f"UVNAS_SOAK_SEED={SEED}"
