# The one inner loop, see `tile_args.pxi`.

cdef inline void tile(const Tile* a, Py_ssize_t row0, int rows, int cols) noexcept nogil:
    # All tiles from row0 on.  Nothing is asked where the accumulators are at hand, the loops run at least once, and
    # they all lie within another one: else GCC would put the accumulators into memory.  The pointers of rows and
    # columns move on with the outer terms, so that few others are needed in the innermost loop.
    cdef vec acc[16][8]
    cdef vec held[8]
    cdef vec here
    cdef const real* vector[8]
    cdef const real* scalar[16]
    cdef const real* row_bias = <const real*> &NOTHING[0] if a.row_bias == NULL else a.row_bias
    cdef const real* col_bias = <const real*> &NOTHING[0] if a.col_bias == NULL else a.col_bias
    cdef Py_ssize_t each = 0 if a.row_bias == NULL else 1, apart = 0 if a.col_bias == NULL else LANES
    cdef Py_ssize_t col0, outer, inner, at_vector, at_scalar, row, last, step
    cdef Py_ssize_t column[8]
    cdef const Py_ssize_t* out_row
    cdef const Py_ssize_t* out_col
    cdef real* out
    cdef real low = a.low if a.clip else -REAL_HUGE, high = a.high if a.clip else REAL_HUGE
    cdef int i, j
    while True:
        col0 = 0
        while True:
            for j in range(cols):
                vector[j] = a.vector + a.vector_col[min(col0 + j, a.cols - 1)]
                held[j] = (<const vec*> (col_bias + min(col0 + j, a.cols - 1) * apart))[0]
            for i in range(rows):
                row = min(row0 + i, a.rows - 1)
                scalar[i] = a.scalar + (row * a.scalar_row_step if a.scalar_row == NULL else a.scalar_row[row])
                here = vec_all(row_bias[row * each])
                for j in range(cols):
                    acc[i][j] = held[j] + here
            outer = 0
            while True:
                inner = 0
                while True:
                    at_vector = a.vector_inner[inner]
                    at_scalar = a.scalar_inner[inner]
                    if cols <= rows:  # the shorter side stays in registers
                        for j in range(cols):
                            held[j] = (<const vec*> (vector[j] + at_vector))[0]
                        for i in range(rows):
                            here = vec_all(scalar[i][at_scalar])
                            for j in range(cols):
                                acc[i][j] = vec_add_dot(acc[i][j], held[j], here)
                    else:
                        for i in range(rows):
                            held[i] = vec_all(scalar[i][at_scalar])
                        for j in range(cols):
                            here = (<const vec*> (vector[j] + at_vector))[0]
                            for i in range(rows):
                                acc[i][j] = vec_add_dot(acc[i][j], here, held[i])
                    inner += 1
                    if inner >= a.inner:
                        break
                outer += 1
                if outer >= a.outer:
                    break
                for j in range(cols):
                    vector[j] += a.vector_outer_step
                for i in range(rows):
                    scalar[i] += a.scalar_outer_step
            # which no store changes
            last, step, out, out_row, out_col = a.rows - 1, a.out_row_step, a.out, a.out_row, a.out_col
            for j in range(cols):
                column[j] = out_col[min(col0 + j, a.cols - 1)]
            for i in range(rows):
                row = min(row0 + i, last)
                row = row * step if out_row == NULL else out_row[row]
                for j in range(cols):
                    (<vec*> (out + row + column[j]))[0] = vec_clip(acc[i][j], low, high)
            col0 += cols
            if col0 >= a.cols:
                break
        row0 += rows
        if row0 >= a.rows:
            break


cdef inline void run_tiles(const Tile* a, Py_ssize_t first, Py_ssize_t last, int shape) noexcept nogil:
    # Rows first..last-1 of all columns.  `rows` bounds the clamping, so that it never reaches into the
    # rows of another task.
    cdef Tile t = a[0]
    t.rows = last
    if t.inner == 0:
        no_terms(a, first, last)
    else:
        tiles(shape, &t, first)
