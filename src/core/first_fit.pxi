# Where pieces of memory lie that are needed one after the other.

def first_fit(sizes, starts, ends, Py_ssize_t alignment, /):
    """Offsets of pieces of memory that are needed from `starts` until before `ends`, and the whole.

    The largest come first, each as low as those allow that are needed at the same time.
    """
    sizes, starts, ends = tuple(sizes), tuple(starts), tuple(ends)
    cdef Py_ssize_t count = len(sizes), placed, i, j, n, size, start, end, offset, whole = 0
    cdef Py_ssize_t* rows
    cdef Py_ssize_t* row
    if not len(starts) == len(ends) == count:
        raise ValueError(f"{count} sizes, {len(starts)} starts and {len(ends)} ends")
    within_reach(&alignment, 1)
    at_least(1, &alignment, 1)
    rows = <Py_ssize_t*> malloc(max(count, 1) * 4 * sizeof(Py_ssize_t))
    if rows == NULL:
        raise MemoryError(f"{count} pieces of memory")
    offsets = [0] * count
    try:
        for placed, n in enumerate(sorted(range(count), key=lambda n: -sizes[n])):
            start, end, size = starts[n], ends[n], sizes[n]
            if not 0 <= size <= PY_SSIZE_T_MAX // (count + 1) - alignment:
                raise ValueError(f"{count} pieces of memory of up to {size} bytes")
            size = (size + alignment - 1) // alignment * alignment
            offset, i = 0, placed
            for j in range(placed):  # in the order of their offsets
                row = rows + 4 * j
                if row[0] >= offset + size:
                    break
                if start < row[3] and row[2] < end and row[1] > offset:
                    offset = row[1]
            while i > 0 and rows[4 * i - 4] > offset:
                i -= 1
            memmove(rows + 4 * i + 4, rows + 4 * i, (placed - i) * 4 * sizeof(Py_ssize_t))
            row = rows + 4 * i
            row[0], row[1], row[2], row[3] = offset, offset + size, start, end
            offsets[n] = offset
            whole = max(whole, offset + size)
    finally:
        free(rows)
    return offsets, whole
