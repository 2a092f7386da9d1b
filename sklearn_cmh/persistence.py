"""Which types of the package `skops.io` may trust in a saved model.

`TRUSTED_TYPES` lists the types of this package, and scipy's CSR matrices, in a model saved by
`skops.io`. A pickle can run any code when it is loaded; `skops.io` builds only types that it
is told to trust. These are safe to trust: ``skops.io.load(file, trusted=TRUSTED_TYPES)`` loads
the shallow methods and HammingRanker. What else `skops.io.get_untrusted_types` finds in a file
is not ours, a transformer of somebody else's, say. The deep methods hold torch modules, which
skops does not save.

>>> from sklearn_cmh.persistence import TRUSTED_TYPES
>>> [name for name in TRUSTED_TYPES if name.endswith(".DSAH")]
['sklearn_cmh.shallow._dsah.DSAH']
"""

__all__ = ["TRUSTED_TYPES"]  # noqa: F822 (made on demand: the list follows from the estimators)


def _type_name(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


def __getattr__(name):
    if name != "TRUSTED_TYPES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .base import ModalityEncoder
    from .data import Modality
    from .features import signed_sqrt
    from .solvers import SharedBases
    from .utils.discovery import all_estimators

    deep = {cls for _, cls in all_estimators(kind="deep")}
    ours: list = [cls for _, cls in all_estimators() if cls not in deep]
    ours += [Modality, ModalityEncoder, SharedBases, signed_sqrt]
    matrices = ["scipy.sparse._csr.csr_array", "scipy.sparse._csr.csr_matrix"]
    return sorted([*matrices, *map(_type_name, ours)])
