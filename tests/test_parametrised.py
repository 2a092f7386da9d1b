"""Constructors and docstrings that methods share with their bases."""

import pickle
import re
from inspect import cleandoc, signature

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_cmh import MultimodalData
from sklearn_cmh.base import KernelHasher, LinearHasher, ShallowHasher, Solution, parametrised, sign
from sklearn_cmh.shallow import BATCH
from sklearn_cmh.utils.discovery import all_estimators

ESTIMATORS = [cls for _, cls in all_estimators()]
SHORT = [cls for cls in ESTIMATORS if "__dataclass_fields__" in vars(cls)]


@parametrised
class Signs(LinearHasher):
    """Signs of random projections.

    Parameters
    ----------
    scale : float, default=2.0
        Of the projections.
    max_iter : int, default=1
        None are needed.

    Attributes
    ----------
    scale_ : float
        The same.

    Notes
    -----
    Of no use.
    """

    scale: float = 2.0
    max_iter: int = 1

    _parameter_constraints = {"scale": [float]}

    def _solve(self, features, L, rng):
        P = {name: self.scale * rng.randn(F.shape[1], self.n_bits) for name, F in features.items()}
        codes = sign(sum(features[name] @ P[name] for name in features))
        return Solution(codes, P, [0.0], 1, extras={"scale_": self.scale})


def documented(cls, section):
    """{name: first line} of a section of the docstring, in its order."""
    text = re.search(rf"^{section}\n-+\n(.*?)(?=\n\n\S|\Z)", cleandoc(cls.__doc__), re.M | re.S)
    lines = [line for line in text[1].split("\n") if re.match(r"\w", line)] if text else []
    return {name: line for line in lines for name in line.split(" :")[0].split(", ")}


@pytest.mark.parametrize("cls", [*ESTIMATORS, Signs], ids=lambda cls: cls.__name__)
def test_docstrings_describe_every_parameter(cls):
    assert set(documented(cls, "Parameters")) == set(signature(cls).parameters)


@pytest.mark.parametrize("cls", [*SHORT, Signs], ids=lambda cls: cls.__name__)
def test_docstrings_follow_the_signature_and_say_defaults(cls):
    described, parameters = documented(cls, "Parameters"), signature(cls).parameters
    assert list(described) == list(parameters) == list(cls._parameter_constraints)
    for name, line in described.items():
        stated = re.search("default=(.*)", line)[1]
        assert eval(stated) == parameters[name].default, line
    assert {"codes_", "objective_", "n_features_in_"} <= set(documented(cls, "Attributes"))


def test_own_descriptions_come_first_and_other_sections_last():
    assert list(documented(Signs, "Parameters"))[:3] == ["n_bits", "scale", "feature_map"]
    assert list(documented(Signs, "Attributes"))[:2] == ["scale_", "codes_"]
    assert "None are needed." in Signs.__doc__ and "Largest number" not in Signs.__doc__
    assert cleandoc(Signs.__doc__).endswith("Notes\n-----\nOf no use.")
    assert Signs.__doc__.startswith("Signs of random projections.")


def test_parameters_are_those_of_scikit_learn():
    hasher = Signs(8, scale=3.0)
    assert repr(hasher) == "Signs(n_bits=8, scale=3.0)"
    assert clone(hasher.set_params(tol=0.5)).get_params() == hasher.get_params()
    assert set(hasher.get_params()) == set(vars(hasher)) == set(signature(Signs).parameters)
    with pytest.raises(TypeError, match="positional"):
        Signs(8, 3.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_anchors'"):
        Signs(n_anchors=3)
    assert hasher == hasher and hasher != clone(hasher) and len({hasher, clone(hasher)}) == 2


def test_a_class_has_no_parameters_as_attributes():
    """A parameter that an estimator lacks is missed, not that of the class taken for it."""
    assert not hasattr(Signs, "max_iter") and not hasattr(ShallowHasher, "n_bits")


def test_fitted_and_pickled(paired):
    X = MultimodalData(**paired.blocks)
    hasher = Signs(8, random_state=0).fit(X, paired.y)
    copy = pickle.loads(pickle.dumps(hasher))
    np.testing.assert_array_equal(copy.transform(X), hasher.codes_)
    with pytest.raises(ValueError, match="'scale' parameter of Signs"):
        clone(hasher).set_params(scale=3).fit(X, paired.y)
    with pytest.raises(ValueError, match="'max_iter' parameter of Signs"):
        clone(hasher).set_params(max_iter=0).fit(X, paired.y)


def test_a_subclass_without_parameters_needs_nothing(paired):
    class Mine(BATCH):
        """BATCH."""

    assert signature(Mine) == signature(BATCH) and Mine(theta=2.0).get_params()["theta"] == 2.0


def test_a_constructor_of_ones_own_still_does():
    class Mine(KernelHasher):
        def __init__(self, n_bits=4):
            self.n_bits = n_bits

    assert Mine(3).get_params(deep=False) == {"n_bits": 3}


def test_grids_are_copies():
    BATCH.paper_grid()["theta"].clear()
    assert BATCH.paper_grid()["theta"] and Signs.paper_grid() == {}
