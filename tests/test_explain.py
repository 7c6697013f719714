"""hpoviz.explain: every parameter has a full card, in a notebook, in the dashboard and in the documentation."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hpoviz
from hpoviz.cards.card import TOPICS, TUTORIAL, ParameterCard, ParameterCards
from hpoviz.cards.explain import OTHER_NAMES, cards_of
from hpoviz.cards.layer_pictures import ACTIVATIONS, INITIALIZERS, SEVEN, convolve, pooled
from hpoviz.cards.page import page
from hpoviz.cards.pictures import PICTURES, picture
from hpoviz.cards.training_pictures import adam_path, gradient, plateau_rates, sgd_path
from hpoviz.errors import ConfigError
from hpoviz.health.metric import METRICS
from hpoviz.models.model_config import OWN_FAMILIES, load_family
from hpoviz.search.parameter import parameter, parameters_of
from hpoviz.widgets.dashboard import Dashboard

ROOT = Path(__file__).parents[1]
BAD = '<img src=x onerror="window.hacked=1">'
OWN = [(name, item) for name in OWN_FAMILIES for item in load_family(name).parameters().values()]
NAMES = {item.name for _, item in OWN}
IDS = [f"{family}.{item.name}" for family, item in OWN]
THEMES = {
    "light": "--jp-content-font-color1:#000000de; --jp-brand-color1:#1976d2; background:#fff",
    "dark": "--jp-content-font-color1:#fff; --jp-brand-color1:#2196f3; background:#111",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hostile:
    """What a package's family may declare: markup, and nothing beside `help`."""

    bare: int = parameter(3, search=(1, 9), help=f"Bare {BAD}")
    full: str = parameter(
        "a",
        choices=("a", BAD),
        help=f"Full {BAD}",
        topic=BAD,
        raising=BAD,
        lowering=BAD,
        means={BAD: BAD},
        interacts={"bare": BAD, "not there": BAD},
        health={"gradient_health": BAD},
    )


def hostile():
    return cards_of({BAD: parameters_of(Hostile), "other": parameters_of(Hostile)})


@pytest.mark.parametrize(("family", "item"), OWN, ids=IDS)
def test_every_own_parameter_has_a_full_card(family, item):
    card = hpoviz.explain(item.name, family)
    assert card.topic in TOPICS
    assert item.means or (item.raising and item.lowering)
    if item.means:
        assert list(item.means) == [str(value) for value in (*item.choices, *item.also)]
    assert item.health
    assert set(item.health) <= set(METRICS)
    assert item.interacts
    assert set(item.interacts) <= NAMES - {item.name}
    assert any(name in load_family(family).parameters() for name in item.interacts)
    said = [item.raising, item.lowering, *item.means.values(), *item.interacts.values(), *item.health.values()]
    assert all(text == "" or (text[0].isupper() and text.endswith(".")) for text in said)
    titles = [part.title for part in card.parts()]
    assert titles.index("Typical values") < titles.index("Works together with") < titles.index("Model health")
    assert (card.picture is None) == (item.name == "epochs")


def test_every_picture_is_used_and_every_topic_has_parameters():
    assert {item.picture for _, item in OWN} - {""} == set(PICTURES)
    assert {item.topic for _, item in OWN} == set(TOPICS)


@pytest.mark.parametrize("name", ["learning_rate", "Learning Rate", "LEARNING-RATE", " learningrate "])
def test_a_parameter_is_found_however_it_is_written(name):
    card = hpoviz.explain(name)
    assert isinstance(card, ParameterCard)
    assert card.name == "learning_rate"
    assert (card.default, card.link()) == ("0.001 (lstm: 0.005)", f"{TUTORIAL}#Learning-rate")
    said = repr(card)
    assert "cnn: 0.001 by default; a search tries 0.0001 to 0.03" in said
    assert "section “Learning rate” of notebooks/06_hyperparameters.ipynb" in said.replace("\n    ", " ")
    assert max(map(len, said.splitlines())) <= 88


def test_a_topic_gives_the_cards_of_all_architectures_or_of_one():
    everywhere = ["dropout_conv", "dropout_dense", "dropout_words", "dropout_lstm", "recurrent_dropout"]
    assert [card.name for card in hpoviz.explain("dropout")] == everywhere
    assert [card.name for card in hpoviz.explain("Dropout", architecture="cnn")] == everywhere[:2]
    assert {card.name for card in hpoviz.explain("Dropout and L2")} == {*everywhere, "l2", "weight_decay"}
    (card,) = hpoviz.explain("initialiser")
    assert card.see_also == ()
    assert hpoviz.explain("dropout_conv").see_also == tuple(everywhere[1:])


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("lr", "learning_rate"),
        ("ReLU", "activation"),
        ("leaky relu", "activation"),
        ("adam", "optimizer"),
        ("cosine", "learning_rate_schedule"),
        ("early stopping", "epochs"),
        ("batch norm", "use_batch_normalization"),
    ],
)
def test_other_names_and_values_lead_to_their_parameter(asked, name):
    assert hpoviz.explain(asked).name == name


def test_a_value_of_several_parameters_gives_all_of_them_and_another_name_of_a_topic_its_cards():
    assert [card.name for card in hpoviz.explain("max")] == ["pooling", "sequence_pooling"]
    assert [card.name for card in hpoviz.explain("regularisation")] == ["weight_decay", "l2"]
    assert hpoviz.explain("max", "cnn").name == "pooling"


def test_other_names_lead_somewhere():
    for name in OTHER_NAMES:
        assert hpoviz.explain(name)


def test_without_a_name_all_are_listed_by_topic():
    cards = hpoviz.explain()
    assert isinstance(cards, ParameterCards)
    assert {card.name for card in cards} >= NAMES
    assert list(cards.by_topic())[: len(TOPICS)] == list(TOPICS)
    said = repr(cards)
    assert 'hpoviz.explain("dropout")' in said
    assert "filters: 32 by default, typically 8 to 48" in said
    assert max(map(len, said.splitlines())) <= 88
    assert next(iter(hpoviz.explain(architecture="lstm"))).name == "learning_rate"


def test_where_architectures_differ_each_is_told():
    card = hpoviz.explain("l2")
    (other,) = [part.said[0][1] for part in card.parts() if part.title == "In lstm"]
    assert "pulls the gates of an LSTM shut" in other
    assert "Raising it: " in other
    assert "use_batch_normalization" not in repr(hpoviz.explain("learning_rate", "lstm"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dropuot",), "no topic 'dropuot'. Did you mean 'dropout'? Topics: learning rate, "),
        (("filters", "lstm"), "There is no hyperparameter of lstm and no topic 'filters'"),
        (("",), "no topic ''"),
        ((3,), "no topic 3"),
        (("filters", "cmn"), "Unknown architecture 'cmn'. Did you mean 'cnn'?"),
    ],
)
def test_what_is_not_there_is_said_with_what_is_near(arguments, said):
    with pytest.raises(ConfigError) as caught:
        hpoviz.explain(*arguments)
    assert said in str(caught.value)


def test_a_declaration_is_checked():
    with pytest.raises(ConfigError, match=r"Got 'gradient_helth'\. Did you mean 'gradient_health'"):
        parameter(1, search=(1, 2), help="", health={"gradient_helth": ""})
    with pytest.raises(TypeError, match="unexpected keyword argument 'raisin'"):
        parameter(1, search=(1, 2), help="", raisin="")
    with pytest.raises(ConfigError, match=r"There is no picture 'kernal'\. Did you mean 'kernel'"):
        picture("kernal")


def test_a_family_that_declares_only_help_has_a_smaller_card():
    bare, full = sorted(hostile(), key=lambda card: card.name)
    assert [part.title for part in bare.parts()] == ["Typical values"]
    assert (bare.picture, bare.section, bare.topic) == (None, "", "other parameters")
    assert "not there" not in repr(full)
    assert "bare" in dict(next(part.said for part in full.parts() if part.title == "Works together with"))


def test_a_package_that_cannot_be_loaded_is_warned_of(tmp_path, monkeypatch):
    info = tmp_path / "torn-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torn\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hpoviz.architectures]\ntorn = torn_that_is_gone:Torn\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UserWarning, match="'torn' .* cannot be loaded.* Its parameters are not explained"):
        assert hpoviz.explain("filters").name == "filters"


def test_html_is_escaped_everywhere(browser):
    cards = tuple(hostile())
    tab = browser.new_page()
    for brief in (False, True):
        tab.set_content(ParameterCards(BAD, cards, brief=brief)._repr_html_())
        assert tab.locator("img").count() == 0
    tab.set_content(cards[-1]._repr_html_())
    assert tab.locator("img").count() == 0
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("section").get_attribute("aria-label") in ("bare", "full")
    tab.close()


@pytest.mark.slow
def test_all_cards_fit_a_phone_and_a_desktop_in_both_themes(browser):
    every = ParameterCards("all", tuple(hpoviz.explain()))._repr_html_()
    for width in (390, 1440):
        tab = browser.new_page(viewport={"width": width, "height": 844})
        for theme in THEMES.values():
            for shown in (every, hpoviz.explain()._repr_html_()):
                tab.set_content(f'<body style="{theme}">{shown}</body>')
                assert tab.evaluate("document.documentElement.scrollWidth") <= width
        tab.set_content(f"<body>{every}</body>")
        outside = tab.evaluate(
            """() => [...document.querySelectorAll('svg')].flatMap(svg => {
                const frame = svg.getBoundingClientRect();
                return [...svg.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()])
                    .filter(([, box]) => box.right > frame.right + 1 || box.left < frame.left - 1
                        || box.bottom > frame.bottom + 1 || box.top < frame.top - 1).map(([said]) => said);
            })"""
        )
        assert outside == []
        tab.close()


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_small_and_says_what_it_shows(name):
    drawn = picture(name)
    assert len(drawn.alt) > 20
    assert drawn.alt.endswith(".")
    assert len(drawn.svg().encode()) < 6_000
    assert "nan" not in drawn.svg()


def test_pooling_and_filters_compute_what_they_show():
    values = np.arange(16).reshape(4, 4)
    assert pooled(values, np.max).tolist() == [[5, 7], [13, 15]]
    assert pooled(values, np.mean).tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert convolve(SEVEN, np.ones((3, 3)))[1, 1] == 2  # of the 3 × 3 pixels around it


@pytest.mark.slow
def test_pictures_show_what_keras_computes():
    import keras

    points = np.linspace(-3, 3, 13)
    for name, curve in ACTIVATIONS.items():
        real = keras.activations.get(name)(keras.ops.array(points, "float32")).numpy()
        assert np.allclose(real, [curve(x) for x in points], atol=1e-5), name
    for name, variance in INITIALIZERS.items():
        weights = keras.initializers.get({"class_name": name, "config": {"seed": 0}})((300, 200))
        assert np.isclose(np.var(weights.numpy()), variance(300, 200), rtol=0.03), name
    for mine, theirs in (
        (adam_path(0.25, 10), keras.optimizers.Adam(0.25)),
        (sgd_path(0.02, 0.9, 10), keras.optimizers.SGD(0.02, momentum=0.9)),
    ):
        place = keras.Variable(np.array(mine[0], "float32"))
        for _ in range(10):
            theirs.apply([gradient(place.value.numpy()).astype("float32")], [place])
        assert np.allclose(place.value.numpy(), mine[-1], atol=1e-3)


@pytest.mark.slow
def test_the_plateau_is_that_of_the_callback():
    import keras

    (callback,) = load_family("cnn")(learning_rate_schedule="reduce_on_plateau").schedule_callbacks()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    callback.set_model(model)
    callback.on_train_begin()
    losses, rates = [1.0, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.3, 0.3, 0.3, 0.3, 0.3], []
    for epoch, loss in enumerate(losses):
        rates.append(float(model.optimizer.learning_rate))
        callback.on_epoch_end(epoch, {"val_loss": loss})
    assert rates == plateau_rates(losses)
    assert len(set(rates)) > 1


def test_explaining_imports_no_tensorflow():
    script = "import sys, hpoviz; hpoviz.explain()._repr_html_(); hpoviz.explain('dropout')._repr_html_(); "
    script += "print([name for name in ('tensorflow', 'keras', 'optuna', 'plotly') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_of_the_documentation_is_that_of_the_declarations():
    written = (ROOT / "docs" / "hyperparameters.md").read_text(encoding="utf-8")
    assert written == page(), "write it anew: python -m hpoviz.cards.page > docs/hyperparameters.md"


def test_the_tutorial_has_the_sections_that_cards_name():
    book = json.loads((ROOT / TUTORIAL).read_text(encoding="utf-8"))
    lines = [
        line
        for cell in book["cells"]
        if cell["cell_type"] == "markdown"
        for line in "".join(cell["source"]).splitlines()
    ]
    headings = {line.lstrip("# ").strip() for line in lines if line.startswith("#")}
    assert set(TOPICS.values()) - {""} <= headings


FAKE = """({state, code}) => {
    const listeners = {};
    const heard = (messages) => messages.forEach(one => (listeners['msg:custom'] ?? []).forEach(call => call(one, [])));
    const model = { get: name => state[name], on: (name, call) => (listeners[name] ??= []).push(call), off: () => {},
                    send: message => window.told(message).then(heard) };
    const address = URL.createObjectURL(new Blob([code], {type: 'text/javascript'}));
    return import(address).then(({default: widget}) => {
        widget.initialize({model});
        widget.render({model, el: document.body});
    });
}"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_the_dashboard_shows_the_card_of_a_parameter_by_keyboard(browser, width):
    dashboard, said = Dashboard(), []
    dashboard.send = lambda message, buffers=None: said.append(json.loads(json.dumps(message)))

    def told(message):
        said.clear()
        dashboard._told(dashboard, message, None)
        return list(said)

    before = len(json.dumps(dashboard.form))
    tab = browser.new_page(viewport={"width": width, "height": 844})
    tab.set_content(f"<style>{dashboard._css}</style><body></body>")
    tab.expose_function("told", told)
    state = {name: json.loads(json.dumps(getattr(dashboard, name))) for name in ("frame", "form", "snapshot", "notice")}
    tab.evaluate(FAKE, {"state": state, "code": dashboard._esm})
    tab.locator(".hpoviz-dash[data-ready]").wait_for()
    for summary in (".hp-setup > summary", ".hp-space-editor > summary"):
        if not tab.locator(summary).evaluate("one => one.parentElement.open"):
            tab.locator(summary).click()
    button = tab.get_by_role("button", name="help: kernel size")
    button.focus()
    tab.keyboard.press("Enter")
    card = tab.locator(".hp-help .hpoviz-card")
    card.wait_for()
    assert "Each layer sees more of the picture at once" in card.inner_text()
    assert "Windows of 3, 5 and 7 pixels" in card.get_by_role("img").get_attribute("aria-label")
    box = tab.locator(".hp-help").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= 844
    tab.keyboard.press("Escape")
    assert not card.is_visible()
    assert len(json.dumps(dashboard.form)) == before  # cards come when they are asked for
    assert told({"kind": "card", "key": "k", "name": BAD})[0]["problem"].startswith("There is no parameter")
    tab.close()
    dashboard.close()
