"""The door to the kernels: arrays become pointers here, and the chosen table's loops run without the GIL.

Everything is checked against the length of the buffers, so no call from Python can touch foreign
memory; what the numbers mean is checked in `ops`.  Work is cut into tasks that own their outputs,
so results are the same, bit for bit, at any number of threads.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer, Py_buffer)
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport Py_DECREF, Py_INCREF
from cython.parallel cimport prange, threadid
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

include "kernels/args.pxi"

cdef extern from "core/system.h":
    enum: HAVE_OPENMP
    int openmp_limit()
    Py_ssize_t PY_SSIZE_T_MAX
    int forked_child
    void watch_forks()
    void* allocate(Py_ssize_t size) nogil
    void release(void* address) nogil
    void lock_pool() nogil
    void unlock_pool() nogil
    void* active_recorder

watch_forks()

OPENMP = bool(HAVE_OPENMP)

cdef enum:
    ALIGNMENT = 64             # bytes: no vector of a scratch buffer crosses a cache line
    CACHE_SHARE = 384 * 1024   # bytes of input that a task keeps in the second-level cache
    CHANNEL_CUT = 12           # output channels a task: a multiple of most tiles' rows
    WEIGHT_PIXELS = 1024       # pixels of an image block that one weight-gradient pass runs over
    CHUNK = 16384              # numbers a task of an elementwise kernel
    LARGEST = 2147483647       # of any extent, stride or place: what `ops` admits
    TRANSFORM = 22             # products that Winograd's transforms of a channel cost at each place
    TILES = 8                  # whose transforms are kept at once for the gradient to the weights
    TASK_WORK = 500000         # operations a task of a single image
    PIXEL_CUT = 48             # pixels a task of a single image: a multiple of most tiles' rows
    SMALL_WORK = 200000        # operations below which waking a second thread costs more than it brings
    SHARED_WORK = 2000000      # likewise in a recording, whose threads have slept longer

cdef Table* TABLES[2]          # float32, float64
cdef int THREADS = 1
cdef int OPENMP_LIMIT = 1      # of OpenMP when THREADS was set; it may be lowered later
cdef Py_ssize_t ZERO = 0       # the one tap of a linear layer


def use_tables(float32, float64):
    """Take the kernels of one instruction set: two capsules, for float32 and float64."""
    TABLES[0] = <Table*> PyCapsule_GetPointer(float32, "cnn_ext.kernels")
    TABLES[1] = <Table*> PyCapsule_GetPointer(float64, "cnn_ext.kernels")


cdef Table* table_of(int itemsize) except NULL:
    if itemsize != 4 and itemsize != 8:
        raise TypeError(f"expected numbers of 4 or 8 bytes, got {itemsize}")
    return TABLES[itemsize == 8]


def lanes(int itemsize):
    """Images side by side in one vector, for numbers of `itemsize` bytes."""
    return table_of(itemsize).lanes


def set_num_threads(int threads):
    global THREADS, OPENMP_LIMIT
    THREADS = threads
    OPENMP_LIMIT = openmp_limit()


def get_num_threads():
    cdef int limit = openmp_limit()
    if forked_child or not HAVE_OPENMP:
        return 1
    return min(THREADS, limit) if limit < OPENMP_LIMIT else THREADS


include "core/memory.pxi"
include "core/program.pxi"


cdef void* pointer(object array, tuple sizes, int itemsize, bint writable=False) except? NULL:
    # The address of an array of at least these extents.  The caller holds the array itself.
    cdef Py_buffer view
    cdef Py_ssize_t needed = itemsize, size
    for size in sizes:
        if size < 0:
            raise ValueError(f"expected sizes of at least 0, got {sizes}")
        if size and needed > PY_SSIZE_T_MAX // size:
            raise MemoryError(f"an array of {sizes} is too large")
        needed *= size
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if writable else 0))
    PyBuffer_Release(&view)
    if view.itemsize != itemsize or view.len < needed:
        raise ValueError(f"expected at least {sizes} numbers of {itemsize} bytes, "
                         f"got {view.len} bytes in items of {view.itemsize}")
    return view.buf


cdef int at_least_one(const Py_ssize_t* sizes, int count) except -1:
    cdef int i
    for i in range(count):
        if sizes[i] < 1:
            raise ValueError(f"expected sizes of at least 1, got {sizes[i]}")
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
    return (images + table.lanes - 1) // table.lanes


cdef int run(kernel loop, const void* args, size_t size, int pointers, Py_ssize_t tasks,
             double work, scratch=0) except -1:
    # Every task once, on as many threads as the work is worth; each has its own scratch memory.
    # `args` is a struct of `size` bytes that begins with so many pointers to data.
    if recording():
        recorder().add(loop, args, size, pointers, tasks, work, scratch)
        return 0
    cdef int threads = get_num_threads()
    cdef Py_ssize_t task, each, share
    if work < SMALL_WORK or tasks < 2:
        threads = 1
    elif threads > tasks:
        threads = <int> tasks
    scratch = (scratch + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    cdef Memory memory = Memory(scratch * threads)
    cdef char* base = memory.address
    each = scratch
    share = max(1, tasks // (threads * 16))
    with nogil:
        if threads == 1:
            for task in range(tasks):
                loop(args, task, base)
        else:
            for task in prange(tasks, num_threads=threads, schedule="dynamic", chunksize=share):
                loop(args, task, base + threadid() * each)
    return 0


include "core/conv2d.pxi"
include "core/linear.pxi"
include "core/pool2d.pxi"
include "core/elementwise.pxi"
include "core/channels.pxi"
