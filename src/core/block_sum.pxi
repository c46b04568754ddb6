# Sums of what each block of images leaves: in a recording, one reduction for all blocks.

cdef int run_block_sum(Table* table, const void* x, void* y, Py_ssize_t N, Py_ssize_t count) except -1:
    cdef BlockSum a
    a.x, a.y, a.N, a.first, a.blocks, a.step = x, y, N, 0, N, count * table.itemsize
    a.count, a.chunk = count, SUM_CHUNK
    return run(table.block_sum, &a, sizeof(a), 1, 1, (count + SUM_CHUNK - 1) // SUM_CHUNK, <double> N * count,
               0, REDUCES)


def block_sum(x, y, int itemsize, Py_ssize_t N, Py_ssize_t count, /):
    """y = the sum over N parts of `count` numbers of x, as a binary tree."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef void* parts = held.pointer(x, (N, count), itemsize)
    run_block_sum(table, parts, held.pointer(y, (count,), itemsize, True), N, count)
