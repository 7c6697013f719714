"""Prescriptions tried for real, and what is said before training."""

import keras
import numpy as np
import pytest
from keras import layers

from hpoviz.errors import ConfigError, DatasetError, ModelBuildError
from hpoviz.health.diagnosis import RULES
from hpoviz.health.health_analyzer import HealthAnalyzer
from hpoviz.health.metric import METRICS, Metric
from hpoviz.health.preflight import AT_START
from hpoviz.health.remedies import REMEDIES, fresh
from hpoviz.health.report import Finding, HealthReport
from hpoviz.health.retry import Retry
from hpoviz.health.weights import CLASSIC_WEIGHTS
from tests.health.test_health_analyzer import body, data, parts  # noqa: F401  fixtures

pytestmark = pytest.mark.slow
NOT_TRIED = {"label_noise"}  # the data must be mended


def made(*stack, optimizer="adam", loss="sparse_categorical_crossentropy"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), *(stack or body())], name="patient")
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def bias(value):
    return keras.initializers.Constant(value)


def test_every_fault_can_be_tried_or_is_known_not_to_be():
    assert {rule.fault for rule in RULES} - NOT_TRIED == set(REMEDIES)
    assert set(AT_START) <= {rule.fault for rule in RULES}


@pytest.mark.parametrize(
    ("fault", "make"),
    [
        ("dying_relu", lambda: made(layers.Flatten(), layers.Dense(32, "relu", bias_initializer=bias(-3.0)),
                                    layers.Dense(10, "softmax"))),
        ("vanishing_gradient", lambda: made(layers.Flatten(), *(layers.Dense(32, "sigmoid") for _ in range(6)),
                                            layers.Dense(10, "softmax"))),
        ("saturation", lambda: made(layers.Flatten(), layers.Dense(32, "tanh", bias_initializer=bias(20.0)),
                                    layers.Dense(32, "tanh"), layers.Dense(10, "softmax"))),
        ("wrong_output_activation", lambda: made(layers.Flatten(), layers.Dense(32, "relu"), layers.Dense(10))),
        ("not_finite", lambda: made(layers.Flatten(), layers.Dense(32, "leaky_relu"), layers.Dense(32, "leaky_relu"),
                                    layers.Dense(10, "softmax"), optimizer=keras.optimizers.SGD(10.0))),
        ("learning_rate_out_of_range", lambda: made(optimizer=keras.optimizers.Adam(1.0))),
        ("untrained_layer", lambda: made(layers.Flatten(), layers.Dense(32, "relu", trainable=False),
                                         layers.Dense(10, "softmax"))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_prescription_mends_its_fault(parts, fault, make):  # noqa: F811
    model = make()
    before = [weight.copy() for weight in model.get_weights()]
    tried = HealthAnalyzer().retry(model, parts, fault, epochs=6)
    assert tried.fixed, tried
    assert tried.accuracy_after > 0.6
    assert tried.accuracy_after > tried.accuracy_before - 0.05
    assert "it is gone" in repr(tried)
    words = "a learning rate of 0.0004" if fault == "learning_rate_out_of_range" else REMEDIES[fault].words
    assert words in tried._repr_html_()
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_unscaled_inputs_are_scaled(parts):  # noqa: F811
    (x, y), (x_val, y_val) = parts
    large = ((x * 1000, y), (x_val * 1000, y_val))
    model = made()
    (finding,) = [
        one for one in HealthAnalyzer().analyze(model, large).findings if one.fault == "missing_input_scaling"
    ]
    tried = HealthAnalyzer().retry(model, large, finding, epochs=4)
    assert tried.fixed
    assert isinstance(tried.model.layers[1], layers.Normalization)
    assert tried.accuracy_after > tried.accuracy_before


def test_only_the_layer_at_fault_is_made_smaller(parts):  # noqa: F811
    model = made(layers.Flatten(), layers.Dense(8, "relu", name="fit"), layers.Dense(600, "relu", name="fat"),
                 layers.Dense(10, "softmax"))  # fmt: skip
    copy = fresh(model, parts[0][0], REMEDIES["bloat"], "fat")
    assert [layer.units for layer in copy.layers[1:]] == [8, 300, 10]
    both = fresh(model, parts[0][0], REMEDIES["underfitting"])
    assert [layer.units for layer in both.layers[1:]] == [16, 1200, 10]


def test_pretrained_layers_stay_as_they_are(parts):  # noqa: F811
    known = layers.Dense(16, "relu", trainable=False, name="known")
    model = made(layers.Rescaling(0.5), layers.Flatten(), known, layers.Dense(10, "softmax"))
    copy = fresh(model, parts[0][0], REMEDIES["oscillation"])
    assert all(
        np.array_equal(a, b) for a, b in zip(known.get_weights(), copy.get_layer("known").get_weights(), strict=True)
    )
    assert float(copy.optimizer.learning_rate) == pytest.approx(2e-4)


def test_lighter_penalties(parts):  # noqa: F811
    def hidden():
        return layers.Dense(32, "relu", kernel_regularizer=keras.regularizers.L2(0.3))

    tried = HealthAnalyzer().retry(made(layers.Flatten(), hidden(), hidden(), layers.Dense(10, "softmax")), parts,
                                   "over_regularized", epochs=4)  # fmt: skip
    assert float(tried.model.layers[1].kernel_regularizer.l2) == pytest.approx(0.03)
    assert tried.accuracy_after > tried.accuracy_before


def test_class_weights_help_a_rare_class(parts):  # noqa: F811
    (x, y), val = parts
    rare = np.flatnonzero(y == 3)[8:]
    keep = np.setdiff1d(np.arange(len(y)), rare)
    tried = HealthAnalyzer().retry(made(), ((x[keep], y[keep]), val), "class_collapse", epochs=8)
    worst = [report.accuracy_consistency.evidence["worst_recall"] for report in (tried.before, tried.after)]
    assert worst[1] > worst[0]


def test_adapted_layers_keep_what_they_know(parts):  # noqa: F811
    scale = layers.Normalization(axis=None)
    scale.adapt(parts[0][0] * 100)
    model = made(scale, *body())
    for remedy in ("oscillation", "overfitting"):
        copy = fresh(model, parts[0][0], REMEDIES[remedy])
        np.testing.assert_allclose(copy.layers[0](parts[0][0][:4]), scale(parts[0][0][:4]), rtol=1e-6)


def test_a_loss_of_two_classes_keeps_its_kind(parts):  # noqa: F811
    (x, y), (x_val, y_val) = parts
    two = ((x, (y > 4).astype(int)), (x_val, (y_val > 4).astype(int)))
    model = made(*body()[:-1], layers.Dense(1), loss="binary_crossentropy")
    tried = HealthAnalyzer().retry(model, two, "wrong_output_activation", epochs=1)
    assert isinstance(tried.model.loss, keras.losses.BinaryCrossentropy)
    assert tried.model.loss.from_logits


def test_sixteen_bits(parts):  # noqa: F811
    stack = [type(layer).from_config({**layer.get_config(), "dtype": "mixed_float16"}) for layer in body()]
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2))
    tried = HealthAnalyzer().retry(made(*stack, optimizer=optimizer), parts, "oscillation", epochs=1)
    assert float(tried.model.optimizer.inner_optimizer.learning_rate) == pytest.approx(2e-3)


def test_a_remedy_that_changes_nothing_is_not_tried(parts):  # noqa: F811
    model = made(layers.Flatten(), layers.Dense(8, "tanh"), layers.Dense(10, "softmax"))
    with pytest.raises(ConfigError, match=r"'patient' would change with glorot_uniform weights.*other findings first"):
        HealthAnalyzer().retry(model, parts, "saturation", epochs=1)
    model.compile(keras.optimizers.SGD(10.0), "sparse_categorical_crossentropy", metrics=["accuracy"])
    with pytest.raises(ConfigError, match=r"The learning rate is 10; with SGD .*: try 'learning_rate_out_of_range'"):
        HealthAnalyzer().retry(model, parts, "saturation", epochs=1)


def test_a_usual_learning_rate_is_not_tried_where_there_is_one_or_none_is_known(parts):  # noqa: F811
    with pytest.raises(ConfigError, match=r"The learning rate is 0\.001, and with Adam from 1e-05 to 0.02 are usual"):
        HealthAnalyzer().retry(made(), parts, "learning_rate_out_of_range", epochs=1)
    with pytest.raises(ConfigError, match=r"No usual learning rate is known for Ftrl\. Known: SGD, Adam"):
        HealthAnalyzer().retry(made(optimizer="ftrl"), parts, "learning_rate_out_of_range", epochs=1)


def relus(optimizer):
    hidden = (layers.Dense(32, "relu", name=f"hidden_{number}") for number in range(3))
    return made(layers.Flatten(), *hidden, layers.Dense(10, "softmax"), optimizer=optimizer)


def test_a_fault_that_not_finite_hides_is_not_mended(parts):  # noqa: F811
    tried = HealthAnalyzer().retry(relus(keras.optimizers.SGD(10.0)), parts, "dying_relu", epochs=5)
    assert "dying_relu" in [finding.fault for finding in tried.before.findings]
    assert "not_finite" in [finding.fault for finding in tried.after.findings]
    assert not tried.fixed
    said = "it is gone, but nothing is mended: replaced by not finite in hidden_0"
    assert said in repr(tried)
    assert said in tried._repr_html_()


def test_a_fault_that_does_not_show_at_chance_is_not_mended(parts):  # noqa: F811
    tried = HealthAnalyzer().retry(relus(keras.optimizers.SGD(10.0)), parts, "oscillation", epochs=5)
    assert "oscillation" not in [finding.fault for finding in tried.after.findings]
    assert tried.after.overall > tried.before.overall  # and yet
    assert not tried.fixed
    assert "it is gone, but nothing is mended: the model is still at chance" in repr(tried)


def report(overall, *faults):
    metrics = {name: Metric(name=name, value=overall) for name in METRICS}
    found = [Finding(fault=fault, layer=None, metric=METRICS[0], evidence="", consequence="", prescription="")
             for fault in faults]  # fmt: skip
    return HealthReport(model="m", metrics=metrics, findings=tuple(found), weights=CLASSIC_WEIGHTS, rows=400, seconds=0)


@pytest.mark.parametrize(
    ("before", "after", "accuracies", "fixed", "said"),
    [
        (report(0.8, "bloat"), report(0.9), (0.9, 0.9), True, ": it is gone\n"),
        (report(0.8, "bloat"), report(0.76, "oscillation"), (0.9, 0.89), True, ": it is gone\n"),
        (report(0.8, "bloat"), report(0.7), (0.9, 0.9), False, "mended: overall health fell from 0.80 to 0.70\n"),
        (report(0.8, "bloat"), report(0.8), (0.9, 0.6), False, "validation accuracy fell from 0.9000 to 0.6000\n"),
        (report(0.8, "bloat"), report(0.8, "bloat"), (0.9, 0.9), False, ": it is still there\n"),
        (report(0.8), report(0.8), (0.9, 0.9), False, ": so few epochs do not show it, with or without\n"),
        (report(0.3), report(0.3, "not_finite"), (0.9, 0.9), False, "was not there, and now: replaced by not finite\n"),
        (report(0.3, "bloat", "at_chance"), report(0.1, "at_chance", "oscillation"), (0.1, 0.1), False,
         "mended: replaced by oscillation; the model is still at chance; overall health fell from 0.30 to 0.10\n"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_retry(before, after, accuracies, fixed, said):
    tried = Retry("bloat", "half", before, after, *accuracies, made())
    assert tried.fixed == fixed
    assert said in repr(tried)


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
@pytest.mark.parametrize("one_hot", [False, True], ids=["numbers", "rows"])
def test_labels_are_coded_as_the_loss_takes_them(parts, loss, one_hot):  # noqa: F811
    given = tuple((x, np.eye(10)[y] if one_hot else y) for x, y in parts)
    model = made(layers.Flatten(), layers.Dense(16, "relu"), layers.Dense(10, "softmax"), loss=loss)
    tried = HealthAnalyzer().retry(model, given, "class_collapse", epochs=3)
    assert tried.accuracy_before > 0.5
    assert tried.after.accuracy_consistency.evidence["accuracy"] == pytest.approx(tried.accuracy_after, abs=0.02)


class Own(keras.Model):
    """A model with a call of its own, which Keras cannot clone."""

    def __init__(self):
        super().__init__()
        self.flat, self.head = layers.Flatten(), layers.Dense(10, "softmax")

    def call(self, x):
        return self.head(self.flat(x))


def test_what_cannot_be_tried(parts):  # noqa: F811
    model = made()
    analyzer = HealthAnalyzer()
    with pytest.raises(ConfigError, match=r"against 'label_noise'\."):
        analyzer.retry(model, parts, "label_noise")
    with pytest.raises(ConfigError, match=r"against 'dying'\. Did you mean"):
        analyzer.retry(model, parts, "dying")
    with pytest.raises(DatasetError, match="To train again, data must be a Dataset or"):
        analyzer.retry(model, parts[1], "dying_relu")
    with pytest.raises(ConfigError, match="'bare' is not compiled"):
        analyzer.retry(keras.Sequential([keras.Input((8, 8, 1)), *body()], name="bare"), parts, "dying_relu")
    schedule = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.9))
    with pytest.raises(ConfigError, match="The learning rate is a schedule"):
        analyzer.retry(made(optimizer=schedule), parts, "oscillation", epochs=1)
    own = Own()
    own.compile("adam", "sparse_categorical_crossentropy")
    own(parts[0][0][:1])
    with pytest.raises(ModelBuildError, match="cannot be made anew"):
        analyzer.retry(own, parts, "slow_convergence", epochs=1)


def faults(model, given):
    return [finding.fault for finding in HealthAnalyzer().preflight(model, given).findings]


def test_nothing_speaks_against_a_sound_model(parts):  # noqa: F811
    found = HealthAnalyzer().preflight(made(), parts)
    assert found
    assert repr(found) == "Before training patient: nothing speaks against it."
    assert "No finding" in found._repr_html_()


@pytest.mark.parametrize(
    ("fault", "make"),
    [
        ("learning_rate_out_of_range", lambda: made(optimizer=keras.optimizers.Adam(0.5))),
        ("learning_rate_out_of_range", lambda: made(optimizer=keras.optimizers.SGD(1e-6))),
        ("wrong_output_activation", lambda: made(*body()[:-1], layers.Dense(10))),
        ("wrong_label_coding", lambda: made(loss="categorical_crossentropy")),
        ("too_much_dropout", lambda: made(*body()[:-1], layers.Dropout(0.9), body()[-1])),
        ("not_compiled", lambda: keras.Sequential([keras.Input((8, 8, 1)), *body()])),
        ("dying_relu", lambda: made(layers.Flatten(), layers.Dense(32, "relu", bias_initializer=bias(-9.0)),
                                    layers.Dense(10, "softmax"))),
    ],
)  # fmt: skip
def test_what_speaks_against_training(parts, fault, make):  # noqa: F811
    assert fault in faults(make(), parts)


def test_data_that_speak_against_training(parts):  # noqa: F811
    (x, y), val = parts
    one_hot = np.eye(10)[y], np.eye(10)[val[1]]
    coded = made(loss="categorical_crossentropy")
    assert faults(coded, ((x, one_hot[0]), (val[0], one_hot[1]))) == []
    assert faults(made(), ((x, one_hot[0]), (val[0], one_hot[1]))) == ["wrong_label_coding"]
    assert "missing_input_scaling" in faults(made(), ((x * 255, y), (val[0] * 255, val[1])))
    others = np.flatnonzero((y != 3) | (np.arange(len(y)) < 60))
    found = HealthAnalyzer().preflight(made(), ((x[others], y[others]), val))
    assert [finding.fault for finding in found.findings] == ["rare_class"]
    assert found.findings[0].evidence.startswith("Class 3 has ")
    assert "! rare class: Class 3" in repr(found)
    broken = val[0].copy()
    broken[0, 0, 0] = np.nan
    assert faults(made(), ((x, y), (broken, val[1])))[0] == "values_not_finite"
