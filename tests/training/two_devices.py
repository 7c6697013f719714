"""Trains trials on two logical CPUs, in a process of its own: TensorFlow must be told of them before it starts."""

import dataclasses
import json
import sys
from pathlib import Path

import keras
import tensorflow as tf

import hpoviz
from hpoviz.events import EpochEnded, ModelBuilt, TerminalEvent
from hpoviz.models.user_code import UserCode
from hpoviz.training.trial import run_trial
from hpoviz.training_record import TrainingRecord
from hpoviz.trial_spec import TrialSpec

CNN = {"filters": 4, "num_layers_conv": 1, "num_layers_dense": 1, "batch_size": 32, "epochs": 3}
CNN |= {"dropout_conv": 0.0, "dropout_dense": 0.0, "l2": 1e-3}
LSTM = {"lstm_units": 4, "embedding_size": 8, "sequence_length": 12, "batch_size": 32, "epochs": 2, "l2": 1e-3}
LSTM |= {"dropout_words": 0.0, "dropout_lstm": 0.0, "bidirectional": False}
RATES = [0.02, 0.02, 0.01, 0.01, 0.01, 0.005]
OWN = {"batch_size": 32, "epochs": 2}


def small(name, rows):
    split = hpoviz.load_dataset(name).split()
    parts = {"x_train": split.x_train[:rows], "y_train": split.y_train[:rows]}
    return dataclasses.replace(split, **parts, x_val=split.x_val[:101], y_val=split.y_val[:101])


def own_model(params, data):
    layers = [keras.layers.Input(data.input_shape), keras.layers.Flatten(), keras.layers.Dropout(0.1)]
    model = keras.Sequential([*layers, keras.layers.Dense(data.num_classes, "softmax")])
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 8, 0.5)
    model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def trained(folder, data, architecture, params, code=None, **spec):
    """Run a trial; return what it told."""
    folder.mkdir()
    events = []
    told = TrialSpec(run="r", trial=0, seed=4, architecture=architecture, params=params, **spec)
    run_trial(told, data, events.append, lambda: False, folder, code or UserCode())
    built = [event for event in events if isinstance(event, ModelBuilt)]
    epochs = [event for event in events if isinstance(event, EpochEnded)]
    (end,) = [event for event in events if isinstance(event, TerminalEvent)]
    return {
        "trained_by": built[0].trained_by if built else None,
        "rate_factor": built[0].rate_factor if built else None,
        "curves": [[epoch.loss, epoch.accuracy, epoch.val_loss, epoch.val_accuracy] for epoch in epochs],
        "rates": [epoch.learning_rate for epoch in epochs],
        "kind": type(end).__name__,
        "end": json.loads(end.to_json()),
    }


def main(folder):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    digits, texts, odd = small("digits", 250), small("docstrings", 250), small("digits", 249)
    weighted = CNN | {"optimizer": "sgd", "learning_rate": 0.01, "class_weight": "balanced", "epochs": 2}
    weighted |= {"use_batch_normalization": False}
    cases = {"cnn": (digits, "cnn", CNN), "lstm": (texts, "lstm", LSTM), "odd": (odd, "cnn", weighted)}
    found = {}
    for name, case in cases.items():
        for devices in (1, 2):
            found[f"{name} on {devices}"] = trained(folder / f"{name}{devices}", *case, devices=devices)
    noisy = CNN | {"dropout_conv": 0.2, "augment_shift": 0.1, "epochs": len(RATES)}
    looks = {"health_every": 2, "record_layers": True, "learning_rates": RATES, "devices": 2, "scale_batch": True}
    found["scaled"] = trained(folder / "scaled", digits, "cnn", noisy, **looks)
    own = (digits, "build_model", OWN, UserCode(build_model=own_model))
    found["own"] = trained(folder / "own", *own, devices=2)
    found["own scaled"] = trained(folder / "own scaled", *own, devices=2, scale_batch=True)
    found["three"] = trained(folder / "three", digits, "cnn", CNN, devices=3)
    (folder / "found.json").write_text(json.dumps(found | saved(folder / "scaled", digits)))


def saved(folder, data):
    """What is in a trial's folder, read in plain Keras."""
    model = keras.models.load_model(folder / "model.keras", safe_mode=True)
    record = TrainingRecord.load(folder / "arrays.npz")
    predicted = model.predict(data.x_val, verbose=0).argmax(1)
    return {
        "accuracy of the file": float((predicted == data.y_val).mean()),
        "predicted by the file": predicted.tolist(),
        "predicted in the trial": record.predictions.predicted.tolist(),
        "problem of the record": record.problem,
        "types of weights": sorted({type(one.value).__name__ for one in model.variables}),
        "synchronized": [one.synchronized for one in model.layers if isinstance(one, keras.layers.BatchNormalization)],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
