import numpy as np
import pytest

from hpoviz.backends.inline import InlineBackend
from hpoviz.errors import ConfigError
from hpoviz.events import TerminalEvent
from hpoviz.testing.backend_contract import BackendContract, tiny_spec


class TestInlineBackend(BackendContract):
    def make_backend(self):
        return InlineBackend()

    def test_the_callers_random_state_survives_a_trial(self, harness):
        np.random.seed(3)
        before = np.random.get_state()[1].tolist()
        harness.backend.submit(tiny_spec(epochs=1), slot=0)
        harness.events_until(TerminalEvent)
        harness.backend.close()
        assert np.random.get_state()[1].tolist() == before


def test_more_than_one_worker_is_refused():
    with pytest.raises(ConfigError, match=r"has one worker\. Got workers=2\. Use backend='local'"):
        InlineBackend(workers=2)
