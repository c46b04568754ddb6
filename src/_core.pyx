"""The door to the kernels: arrays become pointers here, and the chosen table's loops run without the GIL.

Everything is checked against the length of the buffers, so no call from Python can touch foreign
memory; what the numbers mean is checked in `ops`.  Work is cut into tasks that own their outputs,
so results are the same, bit for bit, at any number of threads.
"""

cimport cython
from bisect import bisect_right

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release,
    PyObject_GetBuffer, Py_buffer)
from cpython.number cimport PyNumber_Index
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport ceil
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

include "kernels/args.pxi"
include "kernels/bytes_args.pxi"
include "kernels/halves_args.pxi"

cdef extern from "core/system.h":
    enum: HAVE_THREADS
    Py_ssize_t PY_SSIZE_T_MAX
    void watch_forks()
    void* allocate(Py_ssize_t size) nogil
    void release(void* address) nogil
    void lock_pool() nogil
    void unlock_pool() nogil
    long long this_thread()
    ctypedef int cpu_mode
    cpu_mode flush_denormals() nogil
    void put_back(cpu_mode before) nogil
    void* active_recorder
    ctypedef struct pool_team:
        int threads
    ctypedef void (*pool_work)(const void* job, Py_ssize_t task, int slot) noexcept nogil
    int pool_cpus
    long long pool_clock() nogil
    pool_team* pool_hire(int threads) nogil
    void pool_dismiss(pool_team* team) nogil
    void pool_share(pool_team* team, pool_work work, const void* job, Py_ssize_t tasks, Py_ssize_t chunk) nogil

watch_forks()

cdef enum:
    MOST_POINTERS = 8          # to data, of a call
    ALIGNMENT = 64             # bytes: no vector of a scratch buffer crosses a cache line
    CACHE_SHARE = 384 * 1024   # bytes of input that a task keeps in the second-level cache
    CHANNEL_CUT = 12           # output channels a task: a multiple of most tiles' rows
    FEATURE_CUT = 32           # vectors of input features a task, for the gradient to the weights of a linear layer
    FEW_PIXELS = 200            # outputs of a convolution, whose channels rather than images go into the lanes
    FEW_CHANNELS = 2           # output channels a group: too few for the tiles
    FEW_INPUTS = 4             # input channels: taps may stand in their place
    TAPS_SHARE = 24 * 1024     # bytes of them that a task keeps in the first-level cache
    TAPS_GATHERED = 128 * 1024 # of all pixels of an image, at most, for the gradient to the weights
    CHUNK = 16384              # numbers a task of an elementwise kernel
    SUM_CHUNK = 1024           # sums a task that adds up the parts of blocks
    LARGEST = 2147483647       # of any extent, stride or offset: what `ops` admits
    TRANSFORM = 22             # products that Winograd's transforms of a channel cost at each frequency
    TILES = 8                  # of one image whose transforms are kept at once
    SUMMED_TILES = 4           # whose products are added up in one run, for the gradient to the weights
    TASK_WORK = 500000         # operations a task of a single image
    PIXEL_CUT = 48             # pixels a task of a single image: a multiple of most tiles' rows
    FOUR_CUT = 16              # the same, of results that are the largest of four pixels
    SMALL_WORK = 200000        # operations below which waking a second thread costs more than it brings
    SHARED_WORK = 2000000      # likewise for all steps of a recorded block, at whose begin a thread must be woken
    SHORT_WORK = 1200000       # operations of a run that may keep the interpreter's lock: some 10 us

cdef Table* TABLES[2]          # float32, float64
cdef Py_ssize_t ZERO = 0       # the one tap of a linear layer


def use_tables(float32, float64, /):
    """Take the kernels of one instruction set: two capsules, for float32 and float64."""
    cdef Table* single = <Table*> PyCapsule_GetPointer(float32, "cnn_ext.kernels")
    cdef Table* double_ = <Table*> PyCapsule_GetPointer(float64, "cnn_ext.kernels")
    if single.itemsize != 4 or double_.itemsize != 8:
        raise ValueError("expected the kernels for float32 and those for float64")
    TABLES[0], TABLES[1] = single, double_


cdef Table* table_of(int itemsize) except NULL:
    if itemsize != 4 and itemsize != 8:
        raise TypeError(f"expected numbers of 4 or 8 bytes, got {itemsize}")
    if TABLES[itemsize == 8] == NULL:
        raise RuntimeError("no kernels were chosen")
    return TABLES[itemsize == 8]


def lanes(int itemsize, /):
    """Images side by side in one vector, for numbers of `itemsize` bytes."""
    return table_of(itemsize).lanes


cdef inline Py_ssize_t whole_lines(Py_ssize_t size) noexcept nogil:
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


cdef struct Call:
    # `args` is a struct of `size` bytes that begins with pointers to data, the inputs before the outputs.
    kernel loop
    const void* args
    size_t size
    int inputs, pointers, marks
    Py_ssize_t tasks, scratch  # bytes for each thread
    double work
    void* tables               # an object that keeps what other pointers point to; NULL if there are none


include "core/threads.pxi"
include "core/restored.pxi"
include "core/lives.pxi"
include "core/memory.pxi"
include "core/steps.pxi"
include "core/ranks.pxi"
include "core/first_fit.pxi"
include "core/recorder.pxi"
include "core/planning.pxi"
include "core/arrays.pxi"


cdef int run(kernel loop, const void* args, size_t size, int inputs, int outputs, Py_ssize_t tasks,
             double work, long long scratch=0, int marks=0, tables=None) except -1:
    # Every task once, unless a recorder keeps the call for later.
    cdef Call call
    if tasks < 1:
        return 0
    if scratch > PY_SSIZE_T_MAX:
        raise MemoryError(f"{scratch} bytes for each thread")
    call.loop, call.args, call.size, call.inputs, call.pointers = loop, args, size, inputs, inputs + outputs
    call.tasks, call.work, call.scratch, call.marks = tasks, work, <Py_ssize_t> scratch, marks
    call.tables = NULL if tables is None else <void*> tables
    if recording() and recorder().note(&call):
        return 0
    return execute(&call)


cdef int execute(const Call* call) except -1:
    # on as many threads as the work is worth; each has its own scratch memory
    cdef Py_ssize_t task, tasks = call.tasks, each = call.scratch
    cdef int threads = <int> min(tasks, get_num_threads()) if call.work >= SMALL_WORK and tasks > 1 else 1
    cdef pool_team* team = hire(threads)
    cdef Memory memory
    cdef cpu_mode mode = 0
    cdef Tasks shared
    try:
        threads = size_of(team)
        if each > PY_SSIZE_T_MAX // (2 * threads):
            raise MemoryError(f"{each} bytes for each of {threads} threads")
        each = whole_lines(each)
        memory = Memory(each * threads)
        shared.loop, shared.args, shared.scratch, shared.each = call.loop, call.args, memory.address, each
        with nogil:
            mode = flush_denormals()
            if threads == 1:
                for task in range(tasks):
                    shared.loop(shared.args, task, shared.scratch)
            else:
                pool_share(team, do_task, &shared, tasks, max(1, tasks // (threads * 16)))
            put_back(mode)
    finally:
        pool_dismiss(team)
    return 0


include "core/block_sum.pxi"
include "core/halves.pxi"
include "core/conv2d.pxi"
include "core/linear.pxi"
include "core/normalization.pxi"
include "core/dropout.pxi"
include "core/pool2d.pxi"
include "core/elementwise.pxi"
include "core/optimizers.pxi"
include "core/targets.pxi"
include "core/by_channel.pxi"
include "core/channels.pxi"
include "core/half_channels.pxi"
include "core/bytes.pxi"
include "core/augment.pxi"
