"""The types of campaigns in the settings files of both products, and the status of those that run."""

from __future__ import annotations

AB_TEST = "VISUAL_AB"
FEATURE_TEST = "FEATURE_TEST"
FEATURE_ROLLOUT = "FEATURE_ROLLOUT"
FULLSTACK_TYPES = frozenset({AB_TEST, FEATURE_TEST, FEATURE_ROLLOUT})

ROLLOUT = "FLAG_ROLLOUT"
TESTING = "FLAG_TESTING"
PERSONALIZE = "FLAG_PERSONALIZE"
FME_TYPES = frozenset({ROLLOUT, TESTING, PERSONALIZE})

# Campaigns of FullStack with any other status give nothing; nobody looks at the status of FME's.
RUNNING = "RUNNING"
