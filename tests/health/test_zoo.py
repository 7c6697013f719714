"""The fault zoo in small, on real digits: healthy models have no finding, faulty ones the right one."""

import json

import pytest

from hpoviz.health.observation import Observation
from tests.benchmarks.health_zoo import run
from tests.benchmarks.zoo_report import HEALTHY, judged

HEALTHY_ONES = ("mlp", "mlp_tanh", "mlp_deep_bn", "cnn")
FAULTY = {
    "dying_relu": "mlp",
    "vanishing_sigmoid": "mlp",
    "exploding_weights": "mlp",
    "saturated_bias": "mlp_tanh",
    "rate_too_low": "mlp",
    "too_small": "mlp_gelu",
    "wrong_output": "cnn",
    "wrong_labels": "cnn",
    "labels_mean_nothing": "mlp",
    "missing_classes": "cnn",
    "unscaled_inputs": "mlp",
    "one_dying_layer": "cnn",
    "one_frozen_layer": "mlp",
    "stale_normalization": "mlp_deep_bn",
}


def one(fault, strength, architecture, seed):
    item = json.loads(json.dumps(run((fault, strength, architecture, "digits", seed))))
    seen = Observation.from_dict(item["observation"])
    assert Observation.from_dict(json.loads(json.dumps(seen.to_dict()))) == seen
    return judged(item)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", HEALTHY_ONES)
def test_a_healthy_model_has_no_finding(architecture):
    result = one(HEALTHY, "", architecture, 0)
    assert [finding.fault for finding in result.findings] == []
    assert result.accuracy > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "architecture"), FAULTY.items(), ids=list(FAULTY))
def test_a_severe_fault_is_found(fault, architecture):
    result = one(fault, "severe", architecture, 100)
    assert result.right, [str(finding) for finding in result.findings]
    assert result.layer in (True, None)
