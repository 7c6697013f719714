"""Pictures of training: steps down a slope, learning rates over the epochs, batches, penalties, changed images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from hpoviz.cards.drawing import Frame, Picture, bar_groups, box, boxes, dashed, line, text
from hpoviz.models.cnn import CnnConfig
from hpoviz.models.model_config import PLATEAU_FACTOR, PLATEAU_PATIENCE, ModelConfig

__all__ = [
    "adam_path",
    "batch_size",
    "class_weight",
    "decay",
    "flip",
    "l2",
    "learning_rate",
    "momentum",
    "optimizer",
    "plateau_rates",
    "rotation",
    "schedule",
    "sgd_path",
    "shift",
    "steps_down",
    "weight_decay",
    "zoom",
]

Array = np.ndarray
EPOCHS = 20
START = (-4.0, 1.2)
STEEP = 12.0  # times as steep across the valley as along it
LETTER_F = "0,0 30,0 30,8 9,8 9,17 24,17 24,25 9,25 9,44 0,44"


def steps_down(rate: float, start: float = -1.8, steps: int = 8) -> list[float]:
    """Return where gradient descent on x² comes to, step by step.

    Examples
    --------
    >>> steps_down(0.5, start=1.0, steps=2)
    [1.0, 0.0, 0.0]
    """
    places = [start]
    for _ in range(steps):
        places.append(places[-1] - rate * 2 * places[-1])
    return places


def learning_rate() -> Picture:
    """Draw eight steps on the same slope, too small, right and too large."""
    items = []
    bowl = np.linspace(-2.6, 2.6, 41).tolist()
    for place, (name, rate) in enumerate((("too small", 0.04), ("right", 0.3), ("too large", 1.03))):
        frame = Frame(100.0 * place + 4, 6, 90, 74, (-2.6, 2.6), (-0.3, 6.8))
        places = steps_down(rate)
        items += [frame.curve([(x, x * x) for x in bowl], "line")]
        points = [(x, x * x) for x in places]
        items += [frame.curve(points, "thin"), frame.dots(points), text(frame.x + 45, 96, name, "middle")]
    return Picture(
        "Eight steps down a slope: too small ones stay up, right ones arrive, too large ones climb out.", 102, items
    )


def gradient(place: Array) -> Array:
    """Return the gradient of a long valley, half of x² and STEEP times y²."""
    return np.asarray(place * (1.0, STEEP))


def sgd_path(rate: float, momentum: float, steps: int) -> list[tuple[float, float]]:
    """Return the way of SGD with momentum down the valley."""
    place, speed = np.array(START), np.zeros(2)
    way = [START]
    for _ in range(steps):
        speed = momentum * speed - rate * gradient(place)
        place = place + speed
        way.append((float(place[0]), float(place[1])))
    return way


def adam_path(rate: float, steps: int, *, first: float = 0.9, second: float = 0.999) -> list[tuple[float, float]]:
    """Return the way of Adam (Kingma and Ba 2015) down the valley."""
    place, mean, square = np.array(START), np.zeros(2), np.zeros(2)
    way = [START]
    for step in range(1, steps + 1):
        slope = gradient(place)
        mean, square = first * mean + (1 - first) * slope, second * square + (1 - second) * slope**2
        scaled = np.sqrt(square / (1 - second**step)) + 1e-7
        place = place - rate * mean / (1 - first**step) / scaled
        way.append((float(place[0]), float(place[1])))
    return way


def valleys(ways: Iterable[tuple[str, Sequence[tuple[float, float]]]]) -> list[str]:
    """Return ways down the valley beside each other, with lines of equal height."""
    items = []
    for place, (name, way) in enumerate(ways):
        frame = Frame(100.0 * place + 4, 4, 92, 78, (-4.8, 3.2), (-2, 2))
        items.append(box(frame.x, frame.y, frame.width, frame.height, "line"))
        for height in (0.3, 1.5, 4.0):
            turn = np.linspace(0, 2 * math.pi, 31)
            ring = zip(math.sqrt(2 * height) * np.cos(turn), math.sqrt(2 * height / STEEP) * np.sin(turn), strict=True)
            items.append(frame.curve([point for point in ring if point[0] < 3.2], "thin"))
        items += [frame.curve(way), frame.dots(way, 1.6), text(frame.x + 46, 98, name, "middle")]
    return items


def momentum() -> Picture:
    """Draw twenty steps of SGD with little and much momentum."""
    ways = [(f"momentum {share:g}", sgd_path(0.03, share, 20)) for share in (0.0, 0.6, 0.95)]
    said = "Twenty steps of SGD down a long valley: without momentum it is slow, with some it arrives, with much it "
    said += "swings past."
    return Picture(said, 104, valleys(ways))


def optimizer() -> Picture:
    """Draw thirty steps of three optimizers."""
    ways = [
        ("sgd", sgd_path(0.13, 0.0, 30)),
        ("with momentum", sgd_path(0.02, 0.9, 30)),
        ("adam", adam_path(0.25, 30)),
    ]
    said = (
        "Thirty steps down a long valley: SGD zigzags, with momentum it swings, Adam goes as fast along it as across."
    )
    return Picture(said, 104, valleys(ways))


def plateau_rates(losses: Sequence[float], rate: float = 1.0) -> list[float]:
    """Return the rate of each epoch with reduce_on_plateau, from the validation loss after each."""
    rates, best, waited = [], math.inf, 0
    for loss in losses:
        rates.append(rate)
        waited = 0 if loss < best - 1e-4 else waited + 1
        best = min(best, loss) if waited == 0 else best
        if waited == PLATEAU_PATIENCE:
            rate, waited = rate * PLATEAU_FACTOR, 0
    return rates


def schedule() -> Picture:
    """Draw the learning rate over twenty epochs by each schedule."""
    losses = [1 / (1 + min(epoch, 7)) for epoch in range(EPOCHS)]  # falls for eight epochs, then no more
    rates = {
        name: [ModelConfig(learning_rate=1.0, learning_rate_schedule=name, epochs=EPOCHS).learning_rate_at(epoch)
               for epoch in range(EPOCHS)]
        for name in ("constant", "exponential", "cosine")
    }  # fmt: skip
    rates["reduce_on_plateau"] = plateau_rates(losses)
    frame = Frame(4, 20, 146, 84, (0, EPOCHS - 1), (0, 1.05))
    items = [frame.axes("epochs", "learning rate")]
    for place, (name, curve) in enumerate(rates.items()):
        items += [frame.curve(enumerate(curve), dashed(place)), text(184, 34 + 22 * place, name)]
        items += [line(158, 30 + 22 * place, 178, 30 + 22 * place, dashed(place))]
    return Picture(
        "The learning rate over twenty epochs: constant stays, exponential falls by a factor, cosine falls smoothly to "
        "zero, reduce_on_plateau halves from epoch 12 on, as the loss of this example stops falling after the eighth.",
        122,
        items,
    )


def decay() -> Picture:
    """Draw the exponential schedule with three factors."""
    frame = Frame(4, 20, 170, 74, (0, EPOCHS - 1), (0, 1.05))
    items = [frame.axes("epochs", "learning rate")]
    for place, factor in enumerate((0.99, 0.95, 0.8)):
        config = ModelConfig(
            learning_rate=1.0, learning_rate_schedule="exponential", learning_rate_decay=factor, epochs=EPOCHS
        )
        rates = [config.learning_rate_at(epoch) for epoch in range(EPOCHS)]
        items += [frame.curve(enumerate(rates), dashed(place))]
        items += [text(180, frame.at(0, rates[-1])[1] + 4, f"{factor:g}: {rates[-1]:.0%} left")]
    return Picture("The learning rate over twenty epochs with the factors 0.99, 0.95 and 0.8.", 112, items)


def batch_size() -> Picture:
    """Draw the same samples in small and in large batches."""
    samples, side = 64, 8.5
    items = []
    for row, batch in enumerate((8, 32)):
        y, steps = 18 + 46 * row, math.ceil(samples / batch)
        items.append(text(0, y - 5, f"batches of {batch}: {steps} steps an epoch"))
        for step in range(steps):
            left = step * (batch / 2 * side + 3)
            places = [(left + side * (one // 2), y + side * (one % 2)) for one in range(batch)]
            items.append(boxes(places, side - 1, side - 1))
            items.append(box(left - 1, y - 1, batch / 2 * side + 1, 2 * side + 1, "line"))
    return Picture("64 samples: eight steps an epoch in batches of eight, two in batches of 32.", 86, items)


def l2() -> Picture:
    """Draw a loss with no, some and much penalty on the weight, and where each is smallest."""
    frame = Frame(4, 20, 170, 84, (-1, 4), (0, 9))
    items = [frame.axes("a weight", "loss with penalty"), line(*frame.at(0, 0), *frame.at(0, 9), "thin")]
    across = np.linspace(-1, 4, 51).tolist()
    for place, (name, penalty) in enumerate((("no penalty", 0.0), ("some", 0.6), ("much", 2.5))):
        best = 2 / (1 + penalty)
        points = [(x, (x - 2) ** 2 + penalty * x * x) for x in across]
        items += [frame.curve([point for point in points if point[1] <= 9], dashed(place))]
        items += [frame.dots([(best, (best - 2) ** 2 + penalty * best**2)], 3.5)]
        items += [line(180, 36 + 22 * place, 200, 36 + 22 * place, dashed(place))]
        items += [text(206, 40 + 22 * place, f"{name}: {best:.2g}")]
    return Picture("The more penalty, the nearer to zero is the weight with the smallest loss.", 122, items)


def weight_decay() -> Picture:
    """Draw what is left of a weight that no gradient moves."""
    rate, steps = 0.001, 20_000
    frame = Frame(4, 20, 150, 74, (0, steps), (0, 1.05))
    items = [frame.axes(f"{steps:,} steps", "what is left of a weight")]
    for place, share in enumerate((0.001, 0.02, 0.1)):
        left = [(step, (1 - rate * share) ** step) for step in range(0, steps + 1, 500)]
        items += [frame.curve(left, dashed(place))]
        items += [text(160, frame.at(0, left[-1][1])[1] + 4, f"{share:g}: {left[-1][1]:.0%}")]
    return Picture(
        "What is left of a weight that no gradient moves, at a learning rate of 0.001: the more decay, the less.",
        112,
        items,
    )


def class_weight() -> Picture:
    """Draw how much two classes count, one of six samples and one of two."""
    labels = np.array([0] * 6 + [1] * 2)
    counts = np.bincount(labels)
    weights = np.asarray(CnnConfig(class_weight="balanced").class_weights(labels))
    groups = [("none", counts.tolist()), ("balanced", (counts * weights).tolist())]
    return Picture(
        "A class of six samples and one of two: they count six and two, and balanced four each.",
        122,
        bar_groups(groups, ["class A", "class B"]),
    )


def _changed(alt: str, changes: Sequence[tuple[str, str]]) -> Picture:
    """Return the letter F as it is, and as augmentation may show it; changes are about its middle."""
    items = []
    for place, (name, change) in enumerate((("as it is", ""), *changes)):
        left = 10 + 100 * place
        about = f"translate({left + 40} 41) {change} translate(-15 -22)"
        items += [box(left, 1, 80, 80, "line"), f'<polygon class="accent" transform="{about}" points="{LETTER_F}"/>']
        items.append(text(left + 40, 95, name, "middle"))
    return Picture(alt, 102, items)


def flip() -> Picture:
    """Draw a mirrored letter."""
    return _changed("The letter F, and mirrored from left to right.", [("mirrored", "scale(-1 1)")])


def shift() -> Picture:
    """Draw a letter that is moved by up to 0.1 of the side of its image."""
    moved = [("up to 0.1 left, up", "translate(-8 -8)"), ("… right, down", "translate(8 8)")]
    return _changed("The letter F, moved by a tenth of the image to either side.", moved)


def rotation() -> Picture:
    """Draw a letter that is turned by up to 0.05 of a full turn."""
    return _changed(
        "The letter F, turned by 18 degrees to either side.", [("0.05 back", "rotate(-18)"), ("0.05 on", "rotate(18)")]
    )


def zoom() -> Picture:
    """Draw a letter that is larger or smaller by up to 0.2."""
    return _changed(
        "The letter F, a fifth smaller and a fifth larger.",
        [("0.2 smaller", "scale(.8)"), ("0.2 larger", "scale(1.2)")],
    )
