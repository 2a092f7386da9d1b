"""The loop of a solver."""

import warnings

import pytest
from sklearn.exceptions import ConvergenceWarning

from sklearn_cmh.solvers import Sweeps


def halving(sweeps):
    """Record 1, 1/2, 1/4, ... and return how often the loop ran."""
    count = 0
    for number in sweeps:
        count += 1
        assert number == count
        sweeps.record(0.5 ** (number - 1))
    assert len(sweeps) == count == len(sweeps.objective)
    return count


def test_unsettled_objective_warns_once():
    with pytest.warns(ConvergenceWarning, match=r"AAH did not converge within max_iter=7") as found:
        assert halving(Sweeps(7, 0.9, name="AAH")) == 7
    assert len(found) == 1


@pytest.mark.parametrize(("first", "n_sweeps"), [(None, 2), (1.5, 1), (4.0, 2)])
def test_settled_objective_ends_the_loop(first, n_sweeps):
    """1 to 1/2 is a change of 100 %, relative to the newer value, and so is 1 from 1.5 by half."""
    sweeps = Sweeps(7, 1.0)
    if first is not None:
        sweeps.start(first)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert halving(sweeps) == n_sweeps


def test_last_sweep_may_be_the_one_that_settles():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert halving(Sweeps(2, 1.0)) == 2


def test_listener_ends_the_loop():
    told = []

    def on_sweep(sweep, objective):
        told.append((sweep, objective))
        return sweep == 3

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert halving(Sweeps(7, 0.0, on_sweep=on_sweep)) == 3
    assert told == [(1, 1.0), (2, 0.5), (3, 0.25)]
