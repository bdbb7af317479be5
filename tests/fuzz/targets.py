"""Every target, by name."""

from __future__ import annotations

from typing import Final

from tests.fuzz.config_targets import CONFIG_TARGETS
from tests.fuzz.kit import Target
from tests.fuzz.session_targets import SESSION_TARGETS
from tests.fuzz.step_targets import STEP_TARGETS
from tests.fuzz.storage_targets import STORAGE_TARGETS
from tests.fuzz.wire_targets import WIRE_TARGETS

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for target in (*WIRE_TARGETS, *STORAGE_TARGETS, *SESSION_TARGETS, *CONFIG_TARGETS, *STEP_TARGETS)
}
