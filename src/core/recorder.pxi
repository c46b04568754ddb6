# Recording a pass of a network over one block of images.
#
# `record` calls a function of Python while `run` notes the calls of kernels that belong to the
# recording.  Which ones do, the memory tells.  *Streams* are arrays that have a part for each block
# (the input, the targets, the results) and all that a noted call wrote from them; *constants* are the
# weights and what depends on them alone.  A call that reads a stream is noted and not done; one that
# reads constants alone and writes memory taken meanwhile is noted and done, so that whoever reads it
# finds true numbers; every other call is done and not noted.  So whatever else this thread does
# meanwhile, in a handler of a signal or a finaliser, gets its right answer, a recording too: then the
# outer one waits.
#
# What is marked ONCE and reads constants, or what was made so of them, is done once before the blocks: Winograd's
# transform of the weights, and their rounding.
#
# What is marked REDUCES makes *whole* memory from the parts of the blocks, one for the batch.  Who reads
# it waits until all blocks have been there: a step of the blocks goes to the next segment, and so do
# those noted after it.  Reductions, and steps on whole memory alone, go to the first segment that has
# what they read, whenever they were noted.

MOST_STREAMS = STREAMS


class RecordingError(RuntimeError):
    """What was called cannot be recorded."""


cdef inline bint recording() noexcept:
    return active_recorder != NULL  # of this thread


cdef inline Recorder recorder():
    return <Recorder> active_recorder


def record(function, streams, constants, int itemsize, Py_ssize_t images=0, bint fixed=False, /):
    """Call `function()` and record the kernels that it calls on blocks of so many images, LANES or 1.

    `streams` are its arrays for one block that a run replaces, `constants` those that stay; it
    returns a list of further streams, arrays that were made meanwhile.  Raises RecordingError if a
    kernel was given a stream together with memory that is neither, nor was made from them.  `fixed`
    says that the numbers in the constants never change: what is made of them alone is made now.
    """
    cdef Recorder made = Recorder.__new__(Recorder)
    made.begin(streams, constants, itemsize, images)
    try:
        results = function()
    finally:
        made.end()
    plan(made, results)
    if fixed and made.befores:
        made.do_before()
    return made


@cython.final
cdef class Recorder(Steps):
    """What `record` recorded."""

    cdef void* outer           # the recorder that waits for this one
    cdef list starts, ends     # addresses of the pieces that the constants lie in, in order

    cdef int begin(self, streams, constants, int itemsize, Py_ssize_t images) except -1:
        global active_recorder
        self.table = table_of(itemsize)
        self.images = images or self.table.lanes
        if self.images != 1 and self.images != self.table.lanes:
            raise ValueError(f"images: expected 1 or {self.table.lanes}, got {images}")
        self.kept = []
        self.constants = [self.constant(array) for array in constants]
        self.starts, self.ends, last = [], [], 0
        for start, size in sorted([(start, size) for _, start, size, _ in self.constants]):
            if start <= last:  # views may overlap
                last = max(last, start + size)
                self.ends.pop()
            else:
                last = start + size
                self.starts.append(start)
            self.ends.append(last)
        for array in tuple(streams):
            self.add_stream(array)
        self.outer = active_recorder
        active_recorder = <void*> self
        return 0

    cdef void end(self) noexcept:
        # not always the last one that began: greenlets change places
        global active_recorder
        cdef void** link = &active_recorder
        cdef Recorder other
        while link[0] != NULL and link[0] != <void*> self:
            other = <Recorder> link[0]
            link = &other.outer
        if link[0] != NULL:
            link[0] = self.outer
        let_go(&self.lives)

    cdef tuple constant(self, array):
        cdef Py_buffer view
        PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS)
        where = <uintptr_t> view.buf, view.len
        PyBuffer_Release(&view)
        # an array that is a view of another cannot change its size
        return array, *where, getattr(array, "base", None) is None

    cdef int add_stream(self, array) except -1:
        cdef Py_buffer view
        cdef Stream* stream
        if self.count == STREAMS:
            raise RecordingError(f"more than {STREAMS} streams")
        stream = &self.streams[self.count]
        PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        stream.address, stream.size, stream.kind = <uintptr_t> view.buf, view.len, kind_of(&view)
        PyBuffer_Release(&view)
        stream.plain, stream.written, stream.whole = True, False, False
        self.count += 1
        return 0

    cdef int keep_whole(self, const Py_buffer* view) except -1:
        # a run has no more of a stream than its part of the block
        cdef int s
        cdef uintptr_t start = <uintptr_t> view.buf, end = start + <size_t> view.len, first, last
        for s in range(self.count):
            first = self.streams[s].address
            last = first + <size_t> self.streams[s].size
            if start < last and first < end and not (first <= start and end <= last):
                raise RecordingError("an array reaches beyond a stream")
        return 0

    cdef int home_of(self, uintptr_t address, int* life, Py_ssize_t* offset) except -9:
        cdef int s
        life[0], offset[0] = -1, 0
        if address == 0:
            return FIXED
        for s in range(self.count):
            if self.streams[s].address <= address < self.streams[s].address + <size_t> self.streams[s].size:
                offset[0] = address - self.streams[s].address
                return s
        life[0] = life_at(&self.lives, address)
        if life[0] >= 0:
            offset[0] = address - self.lives.life[life[0]].address
            return ARENA
        s = bisect_right(self.starts, address) - 1
        return FIXED if s >= 0 and address < self.ends[s] else FOREIGN

    cdef bint note(self, const Call* call) except -1:
        # Whether the call is noted and not to be done.
        cdef Step step
        cdef Life* life = self.lives.life
        cdef int j, home, holds, first_output = call.inputs
        cdef int readable = call.pointers if call.marks & ADDS else call.inputs
        cdef bint foreign = False, ours = True, fixed = True, blocks = False, whole = False, streams = False
        cdef uintptr_t address
        memset(&step, 0, sizeof(step))
        for j in range(call.pointers):
            address = (<uintptr_t*> call.args)[j]
            step.home[j] = home = self.home_of(address, &step.life[j], &step.offset[j])
            holds = life[step.life[j]].holds if home == ARENA else STREAM if home >= 0 else CONSTANT
            if j < readable:
                fixed &= home == FIXED or home == ARENA and life[step.life[j]].before
                foreign |= home == FOREIGN or holds == NEW
                blocks |= holds == STREAM
                whole |= holds == WHOLE
            if j >= first_output and address:
                ours &= home >= 0 or home == ARENA
                streams |= holds >= WHOLE
        step.streaming = blocks or whole
        if step.streaming and (foreign or not ours):
            raise RecordingError("a kernel was given memory that is not known here")
        if foreign or not ours:
            if streams:
                raise RecordingError("a kernel writes over a stream what is not known here")
            for j in range(first_output, call.pointers):
                if step.home[j] == ARENA:
                    life[step.life[j]].holds = NEW
            return False
        step.loop, step.size, step.inputs, step.pointers = call.loop, call.size, call.inputs, call.pointers
        step.tasks, step.work, step.scratch, step.marks = call.tasks, call.work, call.scratch, call.marks
        if blocks and call.marks & REDUCES:
            step.time = EACH_WAVE
        elif whole and not blocks:
            step.time = EACH_BATCH
        elif call.marks & ONCE and fixed:
            step.time = BEFORE
            for j in range(first_output, call.pointers):
                if step.home[j] == ARENA:
                    life[step.life[j]].before = True
        self.check_numbers(&step, call, step.streaming or streams)
        self.find_segment(&step, readable)
        self.append(&step, call)
        return step.streaming

    cdef int check_numbers(self, Step* step, const Call* call, bint streaming) except -1:
        # Those that a run replaces must be those of the one block that is recorded.
        cdef const Py_ssize_t* number = <const Py_ssize_t*> call.args + call.pointers
        cdef bint right = True
        if not streaming or step.time == EACH_BATCH and step.marks & (LIVE | REDUCES | GATHERS | NUMBERED):
            step.marks &= ~REPLACED  # whatever is counted are not images of the block
        elif self.images == 1 and not step.marks & (REDUCES | NUMBERED | BATCH):
            step.marks &= ~LIVE
        elif self.images != self.table.lanes:
            raise RecordingError("a kernel of whole batches was called in a recording of single images")
        if step.marks & LIVE:
            right = number[0] == self.images
            number += 1
        if step.marks & REDUCES:
            right = right and number[0] == 1 and number[1] == 0 and number[2] == 1
            number += 5 if step.marks & GATHERS else 4
        if step.marks & NUMBERED:
            right = right and number[0] == 0
            number += 1
        if step.marks & BATCH:
            right = right and number[0] == self.images
            number += 1
        if step.marks & CUT:
            right = right and number[0] == 1
        if not right:
            raise RecordingError(f"a kernel was called for other images than the {self.images} of the block")
        return 0

    cdef int find_segment(self, Step* step, int readable) except -1:
        # The first one in which it finds what it reads and nobody needs any more what it writes over.
        cdef int j, when = self.last if step.time == EACH_BLOCK else 0
        cdef Life* life
        cdef bint right = True, written
        for j in range(step.pointers):
            written = j >= step.inputs
            if step.home[j] == ARENA:
                life = &self.lives.life[step.life[j]]
                when = max(when, life.ready + (life.holds == WHOLE and step.time != EACH_BATCH))
                if written:
                    when = max(when, life.read + (step.time == EACH_BLOCK))
                if step.time == EACH_WAVE and (j == 0 or j == 1 and step.marks & GATHERS):
                    right &= life.holds == STREAM
                elif step.time == EACH_WAVE or step.time == EACH_BATCH:
                    right &= life.holds == WHOLE if j < readable else life.holds == NEW or (
                        life.holds == WHOLE and step.time == EACH_BATCH)
                elif written:
                    right &= life.holds != WHOLE
            else:
                right &= step.time != EACH_WAVE or step.home[j] == FIXED and j > 0
                right &= step.time != EACH_BATCH or step.home[j] == FIXED
        if not right:
            raise RecordingError("what belongs to the whole batch comes from parts of each block, in memory of its own")
        step.segment = when
        if step.time == EACH_BLOCK:
            self.last = when
        for j in range(step.pointers):
            if step.home[j] == ARENA:
                life = &self.lives.life[step.life[j]]
                life.used = True
                if j < readable and (life.holds == WHOLE or step.time == EACH_WAVE):
                    life.read = max(life.read, when)
                if j >= step.inputs:
                    life.ready = when
                    life.holds = max(life.holds, CONSTANT if not step.streaming
                                     else STREAM if step.time == EACH_BLOCK else WHOLE)
        return 0

    cdef int append(self, Step* step, const Call* call) except -1:
        cdef int count = self.lives.steps
        cdef Step* steps
        if call.size > MOST_ARGS:
            raise RecordingError("too many arguments to record")
        if count & (count - 1) == 0:  # at powers of two
            steps = <Step*> realloc(self.steps, max(1, 2 * count) * sizeof(Step))
            if steps == NULL:
                raise MemoryError("recording")
            self.steps = steps
        if call.tables != NULL:
            self.kept.append(<object> call.tables)
        step.args = <char*> malloc(call.size)
        if step.args == NULL:
            raise MemoryError("recording")
        memcpy(step.args, call.args, call.size)
        self.steps[count] = step[0]
        self.lives.steps = count + 1
        return 0
