"""A search for a text classifier, from raw texts to a file that takes texts."""

import json
import subprocess
import sys

import numpy as np
import pytest

import hpoviz

pytestmark = pytest.mark.slow

GOOD = ["a fine day", "what a good film", "lovely and bright", "we liked it a lot", "warm and friendly"]
BAD = ["a dull day", "what a bad film", "ugly and dark", "we hated it a lot", "cold and hostile"]


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.permutation((GOOD, BAD)[i % 2])) for i in range(160)]
    data = hpoviz.Dataset.from_arrays(texts, [("good", "bad")[i % 2] for i in range(160)], name="opinions")
    opt = hpoviz.Optimizer(
        data,
        trials=2,
        epochs=3,
        seed=0,
        workers=1,
        search_space={
            "lstm_units": 8,
            "embedding_size": 8,
            "num_layers_lstm": 1,
            "learning_rate": 0.02,
            "batch_size": 16,
        },
        run_dir=tmp_path_factory.mktemp("runs") / "texts",
    )
    opt.run()
    return opt


def test_the_architecture_is_chosen_by_the_kind_of_data(search):
    assert "architecture: lstm" in repr(search)
    assert search.best_trial.accuracy > 0.9


def test_the_model_takes_texts(search):
    score = search.evaluate()
    assert score.accuracy > 0.9
    probabilities = search.best_model.predict(np.array(["a fine and lovely film"], dtype=object), verbose=0)
    assert search.data.class_names[probabilities.argmax()] == "good"


def test_to_code_builds_the_same_model_from_the_training_texts(search, tmp_path):
    (tmp_path / "best_model.py").write_text(search.to_code())
    (tmp_path / "texts.json").write_text(json.dumps(search.data.x.tolist()))
    code = (
        "import sys, json; sys.modules['hpoviz'] = None; sys.path.insert(0, sys.argv[1])\n"
        "import best_model; model = best_model.build_model(json.load(open(sys.argv[1] + '/texts.json')))\n"
        "print(json.dumps([model.count_params(), [[type(l).__name__, l.name] for l in model.layers]]))"
    )
    out = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    count, layers = json.loads(out.stdout.splitlines()[-1])
    model = search.best_trial.model
    assert count == model.count_params()
    assert layers == [[type(layer).__name__, layer.name] for layer in model.layers]
