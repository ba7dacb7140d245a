"""What the processes of one node have in common: data, teachers' weights and teachers' answers, in
files on its own disk."""

from kdray.shared.code import code
from kdray.shared.folder import ALIGNMENT, NotShared
from kdray.shared.table import Table
from kdray.shared.tensors import SMALL, one_copy

__all__ = ["ALIGNMENT", "SMALL", "NotShared", "Table", "code", "one_copy"]
