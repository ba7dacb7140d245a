"""What every trial needs, imported in one go by a worker of Ray that has no trial yet."""

import gc

# Python's collector would go through all that is being imported time and again: a fifth of three
# seconds.
gc.disable()
try:
    import torch._dynamo  # by the first optimiser that torch makes  # noqa: F401

    import kdray.sweep.execution.actor  # noqa: F401
finally:
    gc.enable()
