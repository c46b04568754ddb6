# The tiles that there are for float32 and float64.

cdef void tiles(int shape, const Tile* a, Py_ssize_t first) noexcept nogil:
    # Each shape is a constant here, so that its accumulators live in registers.
    if shape == 0:
        tile(a, first, ROWS0, COLS0)
    elif shape == 1:
        tile(a, first, ROWS1, COLS1)
    elif shape == 2:
        tile(a, first, ROWS2, COLS2)
    elif shape == 3:
        tile(a, first, ROWS3, COLS3)
    elif shape == 4:
        tile(a, first, ROWS4, COLS4)
    elif shape == 5:
        tile(a, first, ROWS5, COLS5)
    elif shape == 6:
        tile(a, first, ROWS6, COLS6)
    elif shape == 7:
        tile(a, first, ROWS7, COLS7)
    elif shape == 8:
        tile(a, first, ROWS8, COLS8)
    elif shape == 9:
        tile(a, first, ROWS9, COLS9)
    elif shape == 10:
        tile(a, first, ROWS10, COLS10)
    elif shape == 11:
        tile(a, first, ROWS11, COLS11)
    elif shape == 12:
        tile(a, first, ROWS12, COLS12)
    elif shape == 13:
        tile(a, first, ROWS13, COLS13)
    else:
        tile(a, first, ROWS14, COLS14)
