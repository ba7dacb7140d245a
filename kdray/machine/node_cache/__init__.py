"""What the processes of one node have in common: data, teachers' weights and teachers' answers, in
files on its own disk."""

from kdray.machine.node_cache.code import code
from kdray.machine.node_cache.folder import ALIGNMENT, NotShared
from kdray.machine.node_cache.rows import Table
from kdray.machine.node_cache.tensors import SMALL, one_copy

__all__ = ["ALIGNMENT", "SMALL", "NotShared", "Table", "code", "one_copy"]
