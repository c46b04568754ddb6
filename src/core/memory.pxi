# Memory of arrays.
#
# Arrays of a training step have the same sizes again and again, and fresh pages cost more than the
# arithmetic on them: memory that an array gives back is kept for the next one of that size.  What
# is kept is never more than twice what was in use at once: not all sizes are in use together.
#
# Many threads come here at once, so the spare memory and the counts are touched under a lock.  No
# Python object is among them: nothing that is done under it can wait for anything else.

cdef enum:
    MOST_SPARE = 1024          # pieces of memory

cdef struct Spare:
    void* address
    Py_ssize_t size

cdef Spare SPARE[MOST_SPARE]   # the one given back last at the end
cdef int spares = 0
cdef Py_ssize_t in_use = 0, most_in_use = 0, kept = 0, taken = 0


cdef void* take(Py_ssize_t size) noexcept nogil:
    # NULL if the system has no more
    global in_use, most_in_use, taken
    cdef void* address = NULL
    cdef int i
    lock_pool()
    for i in range(spares - 1, -1, -1):
        if SPARE[i].size == size:
            address = SPARE[i].address
            forget(i)
            break
    else:
        address = allocate(max(size, 1))
        taken += address != NULL
    if address != NULL:
        in_use += size
        most_in_use = max(most_in_use, in_use)
    unlock_pool()
    return address


cdef void give_back(void* address, Py_ssize_t size) noexcept nogil:
    global in_use, kept, spares
    lock_pool()
    if spares == MOST_SPARE:
        release_oldest()
    SPARE[spares].address, SPARE[spares].size = address, size
    spares += 1
    in_use -= size
    kept += size
    while kept > 2 * most_in_use:
        release_oldest()
    unlock_pool()


cdef void forget(int i) noexcept nogil:
    global kept, spares
    kept -= SPARE[i].size
    spares -= 1
    memmove(&SPARE[i], &SPARE[i + 1], (spares - i) * sizeof(Spare))


cdef void release_oldest() noexcept nogil:
    release(SPARE[0].address)
    forget(0)


def memory_use():
    """Bytes in use, at most in use so far, kept for reuse; how often the system was asked."""
    cdef Py_ssize_t[4] use     # making Python's tuple may collect garbage, and with it memory
    lock_pool()
    use[0], use[1], use[2], use[3] = in_use, most_in_use, kept, taken
    unlock_pool()
    return use[0], use[1], use[2], use[3]


def release_memory():
    """Give all kept memory back to the system and count the most in use anew."""
    global most_in_use
    lock_pool()
    while spares:
        release_oldest()
    most_in_use = in_use
    unlock_pool()


cdef class Memory:
    """`size` bytes from a cache line on, as a writable buffer; not initialised."""

    cdef char* address
    cdef Py_ssize_t size
    cdef Lives* owner          # of the recorder that was active at its birth and still records
    cdef int life              # its number there

    def __cinit__(self, size):
        size = PyNumber_Index(size)
        if size < 0:
            raise ValueError(f"expected a size of at least 0, got {size}")
        if size > PY_SSIZE_T_MAX - 2 * ALIGNMENT:
            raise MemoryError(f"{size} bytes")
        self.size = size
        self.address = <char*> take(self.size)
        if self.address == NULL:
            raise MemoryError(f"{size} bytes")
        if recording():
            born(&recorder().lives, self.address, self.size, &self.owner, &self.life)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.address, self.size, False, flags)

    def __dealloc__(self):
        if self.address == NULL:
            return
        if self.owner != NULL:
            died(&self.owner, self.life)
        give_back(self.address, self.size)
