"""One worker per camera: takes pictures on order, judges them, keeps results till they are safe."""

import os

# Before numpy is imported, or it has no effect. For vectors of an edge's length the library of
# linear algebra wakes threads on all cores, which costs more than they save.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
