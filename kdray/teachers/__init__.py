"""Teachers: loaded from their stored weights, asked as an experiment says, and asked once where the
answer stays the same."""

from kdray.teachers.initial import Init
from kdray.teachers.loading import frozen, load_classifier, load_teacher
from kdray.teachers.oracle import TeacherOracle
from kdray.teachers.pretrained import Pretrained
from kdray.teachers.supervision import Supervision, Virtual

__all__ = [
    "Init",
    "Pretrained",
    "Supervision",
    "TeacherOracle",
    "Virtual",
    "frozen",
    "load_classifier",
    "load_teacher",
]
