"""Packs what trials run out of this installation.

Apart from `trial_code`, because whatever imports this module has the whole trainer in its own archive of code.
"""

from kfp_image_tuning.code_archive.packing import build_archive, collect_files, module_source, unpacking_program
from kfp_image_tuning.katib.trial_code import TrialCode

# Written as whole names, which is what has them travel with this module.
_TRIAL = "kfp_image_tuning.katib.trial"
_START = "kfp_image_tuning.katib.start"


def collect_trial_code() -> TrialCode:
    """The code of a trial."""
    return TrialCode(
        archive=build_archive(collect_files(f"import {_TRIAL}")),
        unpacker=unpacking_program(),
        start=module_source(_START),
    )
