"""Print a digest of what every fitted estimator says, for comparison between processes."""

import hashlib
import json
import warnings

import numpy as np
from interrupted_fits import rows, small

from sklearn_cmh import HammingRanker
from sklearn_cmh.utils.discovery import all_estimators

# Of many more bits than classes, some repeat each other.
SIZES = {
    "small": {},
    "wide": {"n_bits": 40, "max_iter": 30, "n_restarts": 4, "pool_bits": 40},
    "paired": {"pair_weight": 0.3},
}


def digest(*arrays):
    """Of values and types."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(str(array.dtype).encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def digests(n_jobs=None, ranker_jobs=None):
    """{name: digest} of learned and encoded codes, and of what is found by them."""
    warnings.simplefilter("ignore")
    X, y = rows(0)
    new, _ = rows(2)
    found = {}
    for kind in ("shallow", "refined", "baseline"):
        for name, cls in all_estimators(kind=kind):
            for size, settings in SIZES.items():
                estimator = small(cls)
                if settings and settings.keys().isdisjoint(estimator.get_params(deep=False)):
                    continue
                settings = {**settings, "n_jobs": n_jobs}
                if hasattr(estimator, "hash_functions"):
                    settings["n_bits"] = 3  # a logistic regression for every bit
                known = settings.keys() & estimator.get_params(deep=False)
                estimator.set_params(**{name: settings[name] for name in known})
                codes = estimator.fit(X, y).codes_
                queries = [estimator.encode(new, modality=m) for m in (None, *X.names)]
                ranker = HammingRanker(n_neighbors=9, n_jobs=ranker_jobs).fit(codes)
                found[f"{name}, {size}"] = digest(codes, *queries, *ranker.kneighbors(queries[0]))
    return found


if __name__ == "__main__":
    print(json.dumps(digests()))
