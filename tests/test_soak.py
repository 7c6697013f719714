import pytest

from tests.benchmarks.soak import soak


@pytest.mark.slow
def test_a_search_that_is_killed_again_and_again_ends_with_every_trial_once(tmp_path):
    counts = soak(tmp_path / "run", kills=4, trials=4, longest_wait_s=9.0, seed=1)
    assert set(counts["kills"]) == {"parent", "worker"}
    assert (counts["ended"], counts["finished"], counts["distinct trials"]) == (4, 4, 4)
    assert counts["numbers in order"]
