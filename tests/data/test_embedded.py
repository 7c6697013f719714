import hpoviz
from hpoviz.data.embedded import DIGITS, DOCSTRINGS
from hpoviz.testing.dataset_contract import DatasetContract


class TestDigits(DatasetContract):
    def make_source(self):
        return DIGITS


class TestDocstrings(DatasetContract):
    def make_source(self):
        return DOCSTRINGS


def test_the_table_names_every_data_set_and_loads_none():
    table = hpoviz.datasets()
    names = table["name"].tolist()
    assert {"mnist", "fashion_mnist", "cifar10", "cifar100", "gtsrb", "imdb", "reuters", "digits"} <= set(names)
    html = table._repr_html_()
    assert html.count("<a href=") == len(names)
    assert "keras.io</a>" in html
    assert "60,000" in html
