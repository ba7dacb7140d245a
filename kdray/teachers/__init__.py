"""Teachers: loaded from their stored weights, asked as an experiment says, and asked once where the
answer stays the same."""

from kdray.teachers.loading import frozen, load_classifier, load_teacher
from kdray.teachers.supervision import Supervision, Virtual
from kdray.teachers.supervisor import Supervisor

__all__ = ["Supervision", "Supervisor", "Virtual", "frozen", "load_classifier", "load_teacher"]
