# Sums of what each block of images leaves: in a recording, one reduction for all blocks.

cdef int run_block_sum(Table* table, const void* x, void* y, Py_ssize_t N, Py_ssize_t count, bint more) except -1:
    cdef BlockSum a
    a.x, a.y, a.N, a.first, a.step = x, y, N, more, count * table.itemsize
    a.count, a.chunk = count, SUM_CHUNK
    return run(table.block_sum, &a, sizeof(a), 1, 1, (count + SUM_CHUNK - 1) // SUM_CHUNK, <double> N * count,
               0, REDUCES | (ADDS if more else 0))


def block_sum(x, y, int itemsize, Py_ssize_t N, Py_ssize_t count, bint more, /):
    """y = (y if `more` else 0) + the sum over N parts of `count` numbers of x."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef void* parts = held.pointer(x, (N, count), itemsize)
    run_block_sum(table, parts, held.pointer(y, (count,), itemsize, True), N, count, more)
