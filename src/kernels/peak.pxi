# The most multiply-adds a core can do: 24 (or 12) sums in registers, no memory.  A yardstick for
# benchmarks; a task is a million rounds.

cdef inline void multiply_adds(int rows, int cols, real* y) noexcept nogil:
    cdef vec acc[8][8]
    cdef vec factor = vec_all(<real> 0.999999)
    cdef vec term = vec_all(<real> 0.000001)
    cdef vec total = VEC_ZERO
    cdef int i, j
    cdef Py_ssize_t round
    for i in range(rows):
        for j in range(cols):
            acc[i][j] = vec_all(<real> (8 * i + j))
    for round in range(1000000):
        for i in range(rows):
            for j in range(cols):
                acc[i][j] = acc[i][j] * factor + term
    for i in range(rows):
        for j in range(cols):
            total += acc[i][j]
    y[0] = vec_sum(total)


cdef long long peak_scratch(const void* args) noexcept nogil:
    return sizeof(real)


cdef void peak(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    multiply_adds(ROWS0, COLS0, <real*> scratch)
