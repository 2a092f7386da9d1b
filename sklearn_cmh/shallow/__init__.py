"""The shallow methods, one a file."""

from ._aah import AAH
from ._ascmh import ASCMH
from ._batch import BATCH
from ._cca_itq import CCAITQ
from ._centred_sign import CentredSign
from ._classifier_hasher import ClassifierHasher
from ._cmfh import CMFH
from ._cvh import CVH
from ._dsah import DSAH
from ._scm import SCM

__all__ = [
    "AAH",
    "ASCMH",
    "BATCH",
    "CCAITQ",
    "CMFH",
    "CVH",
    "CentredSign",
    "ClassifierHasher",
    "DSAH",
    "SCM",
]
