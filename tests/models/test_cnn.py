import keras
import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hpoviz
from hpoviz.data.info import DataInfo
from hpoviz.errors import ConfigError, ModelBuildError
from hpoviz.models.cnn import CnnConfig
from hpoviz.models.model_config import ModelConfig
from hpoviz.search.quiet_study import quiet_study
from hpoviz.search.space import SearchSpace


def info(shape=(8, 8, 1), classes=3, mean=0.0, std=1.0):
    return DataInfo(
        name="d", kind="image", input_shape=shape, class_names=tuple(map(str, range(classes))), mean=mean, std=std
    )


def layers(**params):
    """Return kind and name of each layer of a tiny network."""
    model = CnnConfig(**({"filters": 2, "dense_units": 4} | params)).build(info())
    return [f"{type(layer).__name__} {layer.name}" for layer in model.layers]


def test_layers_of_the_default_network():
    assert layers() == [
        "Rescaling standardize",
        "Conv2D conv_1",
        "BatchNormalization conv_1_normalize",
        "Activation conv_1_relu",
        "MaxPooling2D conv_1_pool",
        "Conv2D conv_2",
        "BatchNormalization conv_2_normalize",
        "Activation conv_2_relu",
        "MaxPooling2D conv_2_pool",
        "Flatten flatten",
        "Dense dense_1",
        "Activation dense_1_relu",
        "Dropout dense_1_dropout",
        "Dense probabilities",
    ]


def test_layers_with_everything_switched_on():
    assert layers(
        num_layers_conv=1,
        pooling="average",
        activation="gelu",
        dropout_conv=0.1,
        use_global_pooling=True,
        num_layers_dense=2,
        dropout_dense=0.1,
    ) == [
        "Rescaling standardize",
        "Conv2D conv_1",
        "BatchNormalization conv_1_normalize",
        "Activation conv_1_gelu",
        "AveragePooling2D conv_1_pool",
        "Dropout conv_1_dropout",
        "GlobalAveragePooling2D global_pooling",
        "Dense dense_1",
        "Activation dense_1_gelu",
        "Dropout dense_1_dropout",
        "Dense dense_2",
        "Activation dense_2_gelu",
        "Dropout dense_2_dropout",
        "Dense probabilities",
    ]


def test_layers_with_everything_switched_off():
    assert layers(num_layers_conv=1, pooling="none", use_batch_normalization=False, num_layers_dense=0) == [
        "Rescaling standardize",
        "Conv2D conv_1",
        "Activation conv_1_relu",
        "Flatten flatten",
        "Dense probabilities",
    ]


def test_layers_without_dropout_between_dense_layers():
    assert layers(num_layers_conv=1, dropout_dense=0.0)[-3:] == [
        "Dense dense_1",
        "Activation dense_1_relu",
        "Dense probabilities",
    ]


@pytest.mark.parametrize(
    ("filters", "growth", "count", "expected"),
    [
        (8, 2.0, 4, (8, 16, 32, 64)),
        (8, 1.5, 4, (8, 12, 18, 27)),
        (10, 1.0, 3, (10, 10, 10)),
        (5, 1.5, 3, (5, 8, 11)),
        (1, 0.25, 3, (1, 1, 1)),
        (32, 2.0, 1, (32,)),
    ],
)
def test_filters_of_each_convolution(filters, growth, count, expected):
    config = CnnConfig(filters=filters, filter_growth=growth, num_layers_conv=count)
    assert config.conv_filters == expected


@pytest.mark.parametrize(
    ("units", "decay", "count", "expected"),
    [
        (64, 0.5, 3, (64, 32, 16)),
        (64, 0.75, 4, (64, 48, 36, 27)),
        (10, 1.0, 2, (10, 10)),
        (1, 0.5, 3, (1, 1, 1)),
        (64, 0.5, 0, ()),
        (8, 2.0, 2, (8, 16)),
    ],
)
def test_units_of_each_dense_layer(units, decay, count, expected):
    config = CnnConfig(dense_units=units, dense_decay=decay, num_layers_dense=count)
    assert config.dense_widths == expected


def test_number_of_weights():
    config = CnnConfig(filters=4, num_layers_conv=2, filter_growth=2.0, num_layers_dense=1, dense_units=10)
    # convolutions 3·3·1·4 and 3·3·4·8 without bias, 4 figures a normalised filter, 2·2·8 inputs to dense layers
    assert config.build(info()).count_params() == 36 + 16 + 288 + 32 + (32 * 10 + 10) + (10 * 3 + 3)


def test_number_of_weights_with_biases_and_global_pooling():
    config = CnnConfig(
        filters=4,
        num_layers_conv=1,
        kernel_size=5,
        use_batch_normalization=False,
        use_global_pooling=True,
        num_layers_dense=0,
    )
    assert config.build(info((6, 7, 3), classes=2)).count_params() == (5 * 5 * 3 * 4 + 4) + (4 * 2 + 2)


def test_weights_begin_and_are_held_as_configured():
    model = CnnConfig(kernel_initializer="lecun_normal", l2=0.25, filters=2, num_layers_conv=1).build(info())
    for name in ("conv_1", "dense_1"):
        layer = model.get_layer(name)
        assert isinstance(layer.kernel_initializer, keras.initializers.LecunNormal)
        assert float(layer.kernel_regularizer.l2) == 0.25
    assert model.get_layer("probabilities").kernel_regularizer is None


def test_no_penalty_on_weights_at_l2_of_zero():
    model = CnnConfig(l2=0, filters=2, num_layers_conv=1).build(info())
    assert model.get_layer("conv_1").kernel_regularizer is None
    assert model.losses == []


def test_dropout_rates():
    model = CnnConfig(dropout_conv=0.1, dropout_dense=0.3, filters=2, num_layers_conv=1).build(info())
    assert model.get_layer("conv_1_dropout").rate == 0.1
    assert model.get_layer("dense_1_dropout").rate == 0.3


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_network_standardises_its_input(dtype):
    model = CnnConfig(filters=2, num_layers_conv=1).build(info(mean=10.0, std=4.0))
    images = np.array([2, 10, 22, 30], dtype).reshape(4, 1, 1, 1) * np.ones((1, 8, 8, 1), dtype)
    standard = model.get_layer("standardize")(images)
    assert np.allclose(np.asarray(standard)[:, 0, 0, 0], [-2, 0, 3, 5])


def test_default_network_gives_probabilities():
    model = CnnConfig().build(info((8, 8, 1), classes=10, mean=5.0, std=6.0))
    images = np.random.default_rng(0).integers(0, 17, (6, 8, 8, 1)).astype(np.uint8)
    probabilities = model.predict(images, verbose=0)
    assert probabilities.shape == (6, 10)
    assert (probabilities >= 0).all()
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("shape", "seed"), [((4, 6, 3), 0), ((9, 7, 1), 1), ((12, 12, 1), 2), ((3, 3, 2), 3)])
def test_proposed_networks_build_and_run(shape, seed):
    data = info(shape, classes=2)
    narrowed = {"filters": (2, 6), "dense_units": (4, 16), "pooling": ["max", "average", "none"]}
    space = SearchSpace(
        CnnConfig.parameters(),
        narrowed,
        structure=CnnConfig.structure,
        misfit=lambda values: CnnConfig.misfit(values, data),
    )
    study = quiet_study(optuna.samplers.RandomSampler(seed=seed), optuna.pruners.NopPruner())
    config = CnnConfig.from_dict(space.suggest(study.ask()))
    model = config.build(data)
    config.compile(model)
    figures = model.train_on_batch(np.zeros((3, *shape), np.float32), np.array([0, 1, 0]))
    assert np.isfinite(figures).all()
    assert model.output_shape == (None, 2)


@pytest.mark.parametrize(
    ("kernel", "pooling", "count", "shape", "message"),
    [
        (3, "max", 1, (2, 8, 1), "the 2×8 feature map before convolution 1. Got 3."),
        (5, "max", 2, (8, 8, 1), "the 4×4 feature map before convolution 2. Got 5."),
        (3, "average", 3, (8, 8, 1), "the 2×2 feature map before convolution 3. Got 3."),
        (3, "max", 4, (28, 9, 1), "the 7×2 feature map before convolution 3. Got 3."),
        (7, "none", 1, (6, 28, 3), "the 6×28 feature map before convolution 1. Got 7."),
    ],
)
def test_network_that_does_not_fit_the_image(kernel, pooling, count, shape, message):
    config = CnnConfig(kernel_size=kernel, pooling=pooling, num_layers_conv=count)
    with pytest.raises(ModelBuildError, match="kernel_size of CnnConfig must fit") as caught:
        config.build(info(shape))
    assert message in str(caught.value)
    assert str(caught.value).endswith("Use a smaller kernel, fewer conv layers, or pooling='none'.")


@pytest.mark.parametrize(
    ("kernel", "pooling", "count", "shape"),
    [
        (3, "max", 2, (8, 8, 1)),
        (3, "max", 2, (6, 7, 1)),
        (3, "max", 4, (28, 28, 1)),
        (7, "average", 2, (14, 28, 1)),
        (7, "none", 16, (7, 7, 1)),
    ],
)
def test_network_that_just_fits_the_image(kernel, pooling, count, shape):
    values = {"kernel_size": kernel, "pooling": pooling, "num_layers_conv": count}
    assert CnnConfig.misfit(values, info(shape)) is None


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([3, 5, 7]),
    st.sampled_from(["max", "average", "none"]),
    st.integers(1, 6),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_misfit_is_found_exactly_where_the_last_map_is_too_small(kernel, pooling, count, height, width):
    values = {"kernel_size": kernel, "pooling": pooling, "num_layers_conv": count}
    last = min(height, width) // (1 if pooling == "none" else 2 ** (count - 1))
    assert (CnnConfig.misfit(values, info((height, width, 1))) is None) == (kernel <= last)


@pytest.mark.parametrize(
    ("params", "kind", "figures"),
    [
        ({"optimizer": "adam", "learning_rate": 0.25}, keras.optimizers.Adam, {"learning_rate": 0.25}),
        (
            {"optimizer": "adamw", "learning_rate": 0.5, "weight_decay": 0.125},
            keras.optimizers.AdamW,
            {"learning_rate": 0.5, "weight_decay": 0.125},
        ),
        ({"optimizer": "rmsprop", "learning_rate": 0.25}, keras.optimizers.RMSprop, {"learning_rate": 0.25}),
        (
            {"optimizer": "sgd", "learning_rate": 0.25, "momentum": 0.75},
            keras.optimizers.SGD,
            {"learning_rate": 0.25, "momentum": 0.75},
        ),
    ],
)
def test_optimizers(params, kind, figures):
    optimizer = CnnConfig(**params).make_optimizer()
    assert type(optimizer) is kind
    assert {name: optimizer.get_config()[name] for name in figures} == figures


def test_compiled_model_takes_whole_number_labels_and_measures_accuracy():
    config = CnnConfig(filters=2, num_layers_conv=1, num_layers_dense=0, learning_rate=0.125)
    model = config.build(info())
    config.compile(model)
    figures = model.evaluate(np.zeros((2, 8, 8, 1)), np.array([0, 2]), verbose=0, return_dict=True)
    assert set(figures) == {"loss", "accuracy"}
    assert float(model.optimizer.learning_rate) == 0.125


@pytest.mark.parametrize(
    ("params", "rates"),
    [
        ({"learning_rate_schedule": "constant"}, [0.1, 0.1, 0.1, 0.1]),
        ({"learning_rate_schedule": "reduce_on_plateau"}, [0.1, 0.1, 0.1, 0.1]),
        ({"learning_rate_schedule": "exponential", "learning_rate_decay": 0.5}, [0.1, 0.05, 0.025, 0.0125]),
        ({"learning_rate_schedule": "cosine"}, [0.1, 0.1 * (2 + 2**0.5) / 4, 0.05, 0.1 * (2 - 2**0.5) / 4]),
    ],
)
def test_learning_rates(params, rates):
    config = CnnConfig(learning_rate=0.1, epochs=4, **params)
    assert [config.learning_rate_at(epoch) for epoch in range(4)] == pytest.approx(rates)


def test_cosine_ends_at_zero():
    config = CnnConfig(learning_rate=0.1, epochs=7, learning_rate_schedule="cosine")
    assert config.learning_rate_at(7) == pytest.approx(0)


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_schedule_by_formula_is_carried_out(schedule):
    config = CnnConfig(learning_rate=0.1, epochs=4, learning_rate_schedule=schedule)
    (callback,) = config.schedule_callbacks()
    assert type(callback) is keras.callbacks.LearningRateScheduler
    assert [callback.schedule(epoch) for epoch in range(4)] == [config.learning_rate_at(epoch) for epoch in range(4)]


def test_schedule_on_plateau():
    (callback,) = CnnConfig(learning_rate_schedule="reduce_on_plateau").schedule_callbacks()
    assert type(callback) is keras.callbacks.ReduceLROnPlateau
    assert (callback.monitor, callback.factor, callback.patience) == ("val_loss", 0.5, 3)


def test_constant_schedule_needs_no_callback():
    assert CnnConfig(learning_rate_schedule="constant").schedule_callbacks() == []


def test_all_wrong_values_at_once():
    with pytest.raises(ConfigError) as caught:
        CnnConfig(kernel_size=4, filters=0, optimizer="adma", epochs=True)
    assert str(caught.value).splitlines() == [
        "CnnConfig: kernel_size must be one of 3, 5, 7. Got 4.",
        "CnnConfig: filters must be a whole number from 1 to 4096. Got 0.",
        "CnnConfig: optimizer must be one of 'adam', 'adamw', 'rmsprop', 'sgd'. Got 'adma'.",
        "CnnConfig: epochs must be a whole number from 1 to 100000. Got True.",
    ]


def test_dictionary_round_trip():
    config = CnnConfig(filters=7, optimizer="sgd", l2=0, use_global_pooling=True)
    assert CnnConfig.from_dict(config.to_dict()) == config
    assert list(config.to_dict()) == list(CnnConfig.parameters())


def test_values_are_converted_to_the_declared_types():
    config = CnnConfig(filters=np.int64(7), l2=0, learning_rate=np.float32(0.5))
    assert [type(value) for value in (config.filters, config.l2, config.learning_rate)] == [int, float, float]


def test_unknown_parameters_at_once_with_the_nearest():
    with pytest.raises(ConfigError) as caught:
        CnnConfig.from_dict({"filter": 3, "zebra": 1, "filters": 8})
    assert str(caught.value).splitlines() == [
        "CnnConfig has no parameter 'filter'. Did you mean 'filters'?",
        "CnnConfig has no parameter 'zebra'.",
    ]


def test_base_class_is_no_family():
    with pytest.raises(ConfigError, match="ModelConfig is no model family: it has no build method"):
        ModelConfig().build(info())


def test_base_class_fits_everything():
    assert ModelConfig.misfit({}, info()) is None


def test_equal_seeds_give_equal_first_weights():
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        weights.append(CnnConfig(filters=2, num_layers_conv=1, dense_units=2).build(info()).get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))


AUGMENTED = {"augment_flip": True, "augment_shift": 0.2, "augment_rotation": 0.1, "augment_zoom": 0.2}


@pytest.mark.parametrize("name", AUGMENTED)
def test_augmentation_changes_images_in_training_only(name):
    info = DataInfo(name="d", kind="image", input_shape=(9, 8, 3), class_names=("a", "b"))
    plain, changed = CnnConfig(), CnnConfig(**{name: AUGMENTED[name]})
    model, same = changed.build(info), plain.build(info)
    same.set_weights(model.get_weights())
    images = np.random.default_rng(0).integers(0, 255, (32, 9, 8, 3)).astype("uint8")
    np.testing.assert_array_equal(model.predict(images, verbose=0), same.predict(images, verbose=0))
    exported = changed.export(model, info)
    assert [layer.name for layer in exported.layers] == [layer.name for layer in same.layers]
    np.testing.assert_array_equal(exported(images), same(images))  # though the call does not say that it is no training
    layer = model.get_layer(name)
    trained = np.asarray(layer(images.astype("float32"), training=True))
    assert np.abs(trained - images).mean() > 1
    if name == "augment_flip":
        mirrored = [np.array_equal(after, before[:, ::-1]) for after, before in zip(trained, images, strict=True)]
        untouched = [np.array_equal(after, before) for after, before in zip(trained, images, strict=True)]
        assert sum(mirrored) + sum(untouched) == 32
        assert 4 < sum(mirrored) < 28


def test_flips_are_refused_where_a_mirrored_image_is_of_no_class():
    with pytest.raises(ConfigError, match="a mirrored sample of 'digits' does not belong to its class"):
        hpoviz.Optimizer("digits", search_space={"augment_flip": [True]})
    hpoviz.Optimizer("digits", search_space={"augment_flip": [True, False], "augment_shift": (0.0, 0.1)})


def test_a_search_over_augmentation_and_class_weights_trains_in_the_loop(stripes, run_dir):
    space = {**AUGMENTED, "augment_flip": [True], "class_weight": ["none", "balanced"], "epochs": 1, "filters": 4}
    opt = hpoviz.Optimizer(stripes, trials=2, seed=0, workers=1, search_space=space, run_dir=run_dir)
    opt.run()
    assert {trial.result.trained_by for trial in opt.trials} == {"the compiled loop"}
    assert opt.best_model.predict(stripes.x_test, verbose=0).shape == (60, 2)
