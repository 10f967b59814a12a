"""Writes tests/golden/*.json with PyTorch.

    apt-get install python3-torch            # Debian 12: PyTorch 1.13.1
    python3 tests/golden/generate            # all files
    python3 tests/golden/generate losses     # one of them

Running it again on the same PyTorch gives the same bytes, except for the last digits of
tinycnn.json's float32 run, which follow the processor's instruction set.
"""

import sys
import warnings

sys.dont_write_bytecode = True

import torch  # noqa: E402

import attention  # noqa: E402
import augment  # noqa: E402
import data_files  # noqa: E402
import initializers  # noqa: E402
import layers  # noqa: E402
import layers_more  # noqa: E402
import losses  # noqa: E402
import losses_more  # noqa: E402
import model_files  # noqa: E402
import ops  # noqa: E402
import optimizers  # noqa: E402
import schedules  # noqa: E402
import tinycnn  # noqa: E402

SUBJECTS = {
    "attention": attention,
    "augment": augment,
    "data_files": data_files,
    "layers": layers,
    "layers_more": layers_more,
    "losses": losses,
    "losses_more": losses_more,
    "model_files": model_files,
    "ops": ops,
    "optimizers": optimizers,
    "init": initializers,
    "schedules": schedules,
    "tinycnn": tinycnn,
}


def main(names):
    unknown = set(names) - set(SUBJECTS)
    if unknown:
        sys.exit(f"Unknown files {sorted(unknown)}: expected {', '.join(SUBJECTS)}")
    warnings.filterwarnings("ignore", message="reduction: 'mean' divides")
    # More threads would change the order of float32 sums.
    torch.set_num_threads(1)
    for name in names or SUBJECTS:
        SUBJECTS[name].generate()


main(sys.argv[1:])
