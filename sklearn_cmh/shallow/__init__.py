"""The shallow methods, one a file, which is read when its method is first asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._aah import AAH as AAH
    from ._alech import ALECH as ALECH
    from ._ascmh import ASCMH as ASCMH
    from ._batch import BATCH as BATCH
    from ._cca_itq import CCAITQ as CCAITQ
    from ._centred_sign import CentredSign as CentredSign
    from ._classifier_hasher import ClassifierHasher as ClassifierHasher
    from ._cmfh import CMFH as CMFH
    from ._cmssh import CMSSH as CMSSH
    from ._cvh import CVH as CVH
    from ._dch import DCH as DCH
    from ._dsah import DSAH as DSAH
    from ._fsh import FSH as FSH
    from ._gsph import GSPH as GSPH
    from ._lcmfh import LCMFH as LCMFH
    from ._lemon import LEMON as LEMON
    from ._lssh import LSSH as LSSH
    from ._scm import SCM as SCM
    from ._scratch import SCRATCH as SCRATCH
    from ._seph import SePH as SePH
    from ._smfh import SMFH as SMFH
    from ._srlch import SRLCH as SRLCH

_FILES = {
    "AAH": "_aah",
    "ALECH": "_alech",
    "ASCMH": "_ascmh",
    "BATCH": "_batch",
    "CCAITQ": "_cca_itq",
    "CentredSign": "_centred_sign",
    "ClassifierHasher": "_classifier_hasher",
    "CMFH": "_cmfh",
    "CMSSH": "_cmssh",
    "CVH": "_cvh",
    "DCH": "_dch",
    "DSAH": "_dsah",
    "FSH": "_fsh",
    "GSPH": "_gsph",
    "LCMFH": "_lcmfh",
    "LEMON": "_lemon",
    "LSSH": "_lssh",
    "SCM": "_scm",
    "SCRATCH": "_scratch",
    "SePH": "_seph",
    "SMFH": "_smfh",
    "SRLCH": "_srlch",
}

__all__ = list(_FILES)


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    method = getattr(import_module(f".{_FILES[name]}", __name__), name)
    globals()[name] = method
    return method


def __dir__() -> list[str]:
    return [*{**globals(), **_FILES}]
