# The arrays of one call become addresses: of native numbers of one kind, in C order, large enough.

cdef char kind_of(const Py_buffer* view) noexcept:
    # the letter of its items, 'f', 'd', 'B', ...; 0 if they are no single number of this machine
    cdef const char* text = view.format
    cdef int one = 1
    cdef char native = c'<' if (<const char*> &one)[0] else c'>'
    if text == NULL:
        return c'B'
    if text[0] == c'@' or text[0] == c'=' or text[0] == native:
        text += 1
    return text[0] if text[0] and not text[1] else 0


cdef int check_kind(const Py_buffer* view, int itemsize) except -1:
    cdef char kind = c'f' if itemsize == 4 else c'd' if itemsize == 8 else c'B'
    if kind_of(view) != kind or view.itemsize != itemsize:
        name = {4: "float32", 8: "float64"}.get(itemsize, "uint8")
        text = "B" if view.format == NULL else (<bytes> view.format).decode()
        raise TypeError(f"expected an array of native {name}, got items of {view.itemsize} bytes in format {text!r}")
    return 0


@cython.final
cdef class Arrays:
    # Holds the buffers as long as it lives, so that their memory stays where it is during the call.
    cdef Py_buffer views[MOST_POINTERS]
    cdef int count

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            PyBuffer_Release(&self.views[i])

    cdef Py_buffer* take(self, object array, int itemsize, bint writable=False) except NULL:
        # any number of items of so many bytes; 0: numbers of any kind
        cdef Py_buffer* view = &self.views[self.count]
        PyObject_GetBuffer(array, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
        self.count += 1
        if itemsize:
            check_kind(view, itemsize)
            if <uintptr_t> view.buf % <size_t> itemsize:
                raise ValueError(f"expected an array whose numbers lie at multiples of {itemsize} bytes")
        if recording():
            recorder().keep_whole(view)
        return view

    cdef void* pointer(self, object array, tuple sizes, int itemsize, bint writable=False) except? NULL:
        # the address of at least these extents
        cdef Py_ssize_t needed = itemsize, size
        for size in sizes:
            if size < 0:
                raise ValueError(f"expected sizes of at least 0, got {sizes}")
            if size and needed > PY_SSIZE_T_MAX // size:
                raise MemoryError(f"an array of {sizes} is too large")
            needed *= size
        cdef Py_buffer* view = self.take(array, itemsize, writable)
        if view.len < needed:
            raise ValueError(f"expected at least {sizes} numbers of {itemsize} bytes, got {view.len} bytes")
        return view.buf

    cdef void* reach(self, object array, int itemsize, object least, object most, bint writable=False) except? NULL:
        # the address of an array that has the offsets `least` to `most`
        cdef Py_buffer* view = self.take(array, itemsize, writable)
        if least < 0 or most >= view.len // itemsize:
            raise ValueError(f"offsets {least} to {most} are not all inside an array of {view.len // itemsize} numbers")
        return view.buf


cdef int read_sizes(object sizes, Py_ssize_t* into, int count) except -1:
    # so many numbers, into neighbours
    cdef int found = 0
    for size in sizes:
        if found == count:
            raise ValueError(f"expected {count} sizes, got more")
        into[found] = size
        found += 1
    if found < count:
        raise ValueError(f"expected {count} sizes, got {found}")
    return 0


cdef int at_least(Py_ssize_t least, const Py_ssize_t* sizes, int count) except -1:
    cdef int i
    for i in range(count):
        if sizes[i] < least:
            raise ValueError(f"expected sizes of at least {least}, got {sizes[i]}")
    return 0


cdef int within_reach(const Py_ssize_t* numbers, int count) except -1:
    # each along one axis: a product of two is far from where an index would overflow
    cdef int i
    for i in range(count):
        if not -LARGEST <= numbers[i] <= LARGEST:
            raise ValueError(f"expected numbers up to {LARGEST}, got {numbers[i]}")
    return 0


cdef Py_ssize_t blocks_of(Py_ssize_t images, Table* table) except? -1:
    within_reach(&images, 1)
    at_least(0, &images, 1)
    return (images + table.lanes - 1) // table.lanes
