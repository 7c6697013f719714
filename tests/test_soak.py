import pytest

from tests.benchmarks.soak import soak


@pytest.mark.slow
def test_a_search_that_is_killed_again_and_again_ends_with_every_trial_once(tmp_path):
    counts = soak(tmp_path / "run", kills=4, trials=4, epochs=300, longest_wait_s=3.0, seed=1)
    assert counts["kills"] == {"parent": 2, "worker": 2}
    assert (counts["ended"], counts["finished"], counts["distinct trials"]) == (4, 4, 4)
    assert counts["numbers in order"]
