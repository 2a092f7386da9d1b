"""The shallow methods, one a file."""

from ._aah import AAH
from ._alech import ALECH
from ._ascmh import ASCMH
from ._batch import BATCH
from ._cca_itq import CCAITQ
from ._centred_sign import CentredSign
from ._classifier_hasher import ClassifierHasher
from ._cmfh import CMFH
from ._cmssh import CMSSH
from ._cvh import CVH
from ._dch import DCH
from ._dsah import DSAH
from ._fsh import FSH
from ._gsph import GSPH
from ._lcmfh import LCMFH
from ._lemon import LEMON
from ._lssh import LSSH
from ._scm import SCM
from ._scratch import SCRATCH
from ._seph import SePH
from ._smfh import SMFH
from ._srlch import SRLCH

__all__ = [
    "AAH",
    "ALECH",
    "ASCMH",
    "BATCH",
    "CCAITQ",
    "CentredSign",
    "ClassifierHasher",
    "CMFH",
    "CMSSH",
    "CVH",
    "DCH",
    "DSAH",
    "FSH",
    "GSPH",
    "LCMFH",
    "LEMON",
    "LSSH",
    "SCM",
    "SCRATCH",
    "SePH",
    "SMFH",
    "SRLCH",
]
