"""What to do, fitted to the model: nothing that it has already, and nothing that it has no place for."""

from __future__ import annotations

from hpoviz.health.rates import middle_rate
from hpoviz.health.signs import Case, Sign
from hpoviz.health.sites import SATURATING

__all__ = ["RATE_FIRST", "against_dead_rectifiers", "against_large_steps", "against_vanishing"]

RATE_FIRST = "Mend the learning rate first: so large a one leads to this by itself."


def against_large_steps(case: Case, _sign: Sign) -> str:
    """Name a learning rate to begin with."""
    rate = middle_rate(case.seen.optimizer or "")
    if rate is None:
        return "Train anew with a smaller one."
    return f"Train anew with a learning rate of {rate:g}, and search around it."


def against_dead_rectifiers(case: Case, sign: Sign) -> str:
    """Leave out leaky_relu where the layer has no relu, and BatchNormalization where there is one a layer."""
    look = next((look for look in case.seen.now.layers if look.layer == sign.layer), None)
    steps = ["use a smaller learning rate and kernel_initializer='he_normal'"]
    if look is None or look.activation in ("relu", "relu6"):
        steps.append("leaky_relu instead of relu")
    if not _all_normalized(case):
        steps.append("BatchNormalization")
    return f"{_listed(steps)}; if accuracy is good, a narrower layer will do."


def against_vanishing(case: Case, _sign: Sign) -> str:
    """Leave out relu where no layer has an activation with flat ends."""
    flat = any(look.activation in SATURATING for look in case.seen.now.layers)
    steps = [
        "use relu instead of sigmoid or tanh"
        if flat
        else "use kernel_initializer='he_normal' and a smaller learning rate"
    ]
    if not _all_normalized(case):
        steps.append("put BatchNormalization after each layer")
    return f"{_listed([*steps, 'add skip connections'])}; fewer layers help too."


def _all_normalized(case: Case) -> bool:
    return len(case.seen.normalizing) >= len(case.seen.now.layers)


def _listed(steps: list[str]) -> str:
    *before, last = steps
    text = f"{', '.join(before)}{',' if len(before) > 1 else ''} or {last}" if before else last
    return text[0].upper() + text[1:]
