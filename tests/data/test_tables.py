import contextlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpoviz.data.dataset import Dataset
from hpoviz.errors import DatasetError

ROWS = 40


@pytest.fixture
def reviews():
    """40 texts of two moods, with a shuffled index, which must not matter."""
    frame = pd.DataFrame(
        {
            "review": [f"{'good' if row % 2 else 'bad'} day {row}" for row in range(ROWS)],
            "mood": ["+" if row % 2 else "-" for row in range(ROWS)],
            "author": [f"author {row // 4}" for row in range(ROWS)],
            "part": ["test" if row < 8 else "train" for row in range(ROWS)],
        }
    )
    frame.index = np.random.default_rng(0).permutation(ROWS)
    return frame


def test_every_text_keeps_its_label(reviews):
    data = Dataset.from_dataframe(reviews, text="review", label="mood")
    for texts, labels in ((data.x, data.y), (data.x_test, data.y_test)):
        assert ["good" in text for text in texts] == [data.class_names[code] == "+" for code in labels]
    assert (data.kind, len(data.x), len(data.x_test)) == ("text", 32, 8)


def test_numbers_are_labels_too(reviews):
    reviews["stars"] = np.where(reviews["mood"] == "+", 5, 1)
    assert Dataset.from_dataframe(reviews, text="review", label="stars").class_names == ("1", "5")


def test_a_split_column_says_which_rows_are_the_test_set(reviews):
    data = Dataset.from_dataframe(reviews, text="review", label="mood", split="part", groups="author")
    assert data.x_test.tolist() == reviews["review"].tolist()[:8]
    assert data.x.tolist() == reviews["review"].tolist()[8:]
    assert data.test_origin == "given with the data"
    assert len(np.unique(data.groups)) == 8


def test_groups_are_not_split(reviews):
    data = Dataset.from_dataframe(reviews, text="review", label="mood", groups="author", test=0.25)
    author = dict(zip(reviews["review"], reviews["author"], strict=True))
    assert not {author[text] for text in data.x} & {author[text] for text in data.x_test}


def test_a_csv_file_with_any_option_of_pandas(reviews, tmp_path):
    path = tmp_path / "Kritiken.csv"
    reviews["review"] += " – schön"
    reviews.to_csv(path, sep=";", encoding="utf-16", index=False)
    data = Dataset.from_csv(path, text="review", label="mood", sep=";", encoding="utf-16")
    assert data.name == "Kritiken"
    assert all(text.endswith("– schön") for text in data.x)
    assert len(data.x) + len(data.x_test) == ROWS


def without(column, rows):
    def change(frame):
        frame.iloc[rows, frame.columns.get_loc(column)] = None
        return frame

    return change


def doubled(frame):
    frame["again"] = frame["review"]
    return frame.rename(columns={"again": "review"})


BAD_FRAMES = {
    "a list": (lambda frame: frame.to_dict("records"), {}, "df must be a pandas DataFrame. Got list."),
    "no rows": (lambda frame: frame[:0], {}, "df is empty: 0 rows, 4 columns."),
    "a wrong column": (lambda frame: frame, {"text": "reviews"}, "text='reviews' is no column. Did you mean 'review'?"),
    "a wrong label": (lambda frame: frame, {"label": "stars"}, "label='stars' is no column."),
    "wrong groups": (lambda frame: frame, {"groups": "autor"}, "groups='autor' is no column. Did you mean 'author'?"),
    "a column twice": (doubled, {}, "text='review' names 2 columns."),
    "no text": (without("review", [3, 5]), {}, "Column 'review' is empty in 2 rows, first in row 3 (index"),
    "no label": (without("mood", [7]), {}, "Column 'mood' is empty in 1 rows, first in row 7 (index"),
    "no group": (without("author", [0]), {"groups": "author"}, "Column 'author' is empty in 1 rows"),
    "a blank": (lambda frame: frame.replace("bad day 2", "  "), {}, "Got a blank text in sample 2"),
    "numbers": (lambda frame: frame.assign(review=1.5), {}, "text must be texts. Got float in sample 0."),
    "validation rows": (
        lambda frame: frame.assign(part="val"),
        {"split": "part"},
        "Column 'part' must say 'train' or 'test' in every row. Got 'val'.",
    ),
    "no test rows": (
        lambda frame: frame.assign(part="train"),
        {"split": "part"},
        "Column 'part' must say both 'train' and 'test'. Got only 'train'.",
    ),
    "one class": (lambda frame: frame.assign(mood="+"), {}, "A classifier needs at least two classes. Got 1"),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_bad_tables_are_refused(reviews, case):
    change, settings, message = BAD_FRAMES[case]
    with pytest.raises(DatasetError) as caught:
        Dataset.from_dataframe(change(reviews), **{"text": "review", "label": "mood", **settings})
    assert message in str(caught.value)


def test_bad_files_are_refused(reviews, tmp_path):
    (tmp_path / "reviews.csv").write_text("review,mood\n")
    (tmp_path / "latin.csv").write_bytes("review,mood\nschön,+\n".encode("latin-1"))
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n1,2,3\n")
    (tmp_path / "empty.csv").write_text("")
    columns = {"text": "review", "label": "mood"}
    for name, message in (
        ("review.csv", "Did you mean 'reviews.csv'?"),
        ("no/file.csv", "either."),
        ("reviews.csv", "reviews.csv' is empty: 0 rows, 2 columns."),
        ("latin.csv", "is not in UTF-8"),
        ("ragged.csv", "cannot be read as a table"),
        ("empty.csv", "cannot be read as a table"),
    ):
        with pytest.raises(DatasetError) as caught:
            Dataset.from_csv(tmp_path / name, **columns)
        assert message in str(caught.value), name
    with pytest.raises(DatasetError, match="Options of"):
        Dataset.from_csv(tmp_path / "reviews.csv", **columns, no_option=True)


def test_messages_for_a_file_speak_of_the_file(reviews, tmp_path):
    path = tmp_path / "reviews.csv"

    def refusal(frame, text="review", label="mood", sep=","):
        frame.to_csv(path, sep=sep, index=False)
        with pytest.raises(DatasetError) as caught:
            Dataset.from_csv(path, text=text, label=label)
        return str(caught.value)

    assert "The columns are separated by ';': read the file with sep=';'." in refusal(reviews, sep=";")
    assert "sep='\\t'" in refusal(reviews, sep="\t")
    assert "sep=" not in refusal(reviews, label="stars")
    empty = refusal(without("mood", [7])(reviews.copy()))
    assert "Column 'mood' is empty in 1 rows, first in row 7. Rows count from 0 below the header." in empty
    assert "pandas.read_csv(…).dropna(subset=['mood'])" in empty
    alone = refusal(reviews.assign(mood="+"))
    assert "Got 1 in column 'mood': '+'. Is it the column of the labels? Columns: review, mood" in alone
    assert "Column 'rate' must be" in refusal(reviews.assign(rate=np.arange(ROWS) / 3), label="rate")


cells = st.one_of(st.none(), st.text(max_size=8), st.integers(-3, 3), st.floats(allow_nan=True), st.binary(max_size=3))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(cells, cells), max_size=24), st.sampled_from(["a", "b", "c"]))
def test_no_table_raises_anything_but_a_dataset_error(rows, label):
    frame = pd.DataFrame(rows, columns=["a", "b"])
    data = None
    with contextlib.suppress(DatasetError):
        data = Dataset.from_dataframe(frame, text="a", label=label)
    assert data is None or len(data.x) + len(data.x_test) == len(rows)
