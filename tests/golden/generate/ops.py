"""ops.json: tensor ops, forward and gradients."""

import ops_movement
import ops_pointwise
import ops_reduce
from common import write


def generate():
    write("ops.json", {
        "cases": ops_pointwise.cases() + ops_reduce.cases() + ops_movement.cases(),
    })
