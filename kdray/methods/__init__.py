"""Methods. A new one is a file with a frozen value and its pure loss, its name in :data:`AnyMethod`, and a test file."""

from typing import Annotated

from pydantic import Field

from kdray.methods.base import Batch, Losses, Method, OutputMethod, Teacher
from kdray.methods.cross_entropy import CrossEntropy
from kdray.methods.kd import KD

AnyMethod = Annotated[CrossEntropy | KD, Field(discriminator="name")]

__all__ = ["KD", "AnyMethod", "Batch", "CrossEntropy", "Losses", "Method", "OutputMethod", "Teacher"]
