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
# What is marked ONCE (Winograd's transform of the weights) is done once before the blocks.

MOST_STREAMS = STREAMS


class RecordingError(RuntimeError):
    """What was called cannot be recorded."""


cdef inline bint recording() noexcept:
    return active_recorder != NULL  # of this thread


cdef inline Recorder recorder():
    return <Recorder> active_recorder


def record(function, streams, constants, int itemsize, Py_ssize_t images=0):
    """Call `function()` and record the kernels that it calls on blocks of so many images, LANES or 1.

    `streams` are its arrays for one block that a run replaces, `constants` those that stay; it
    returns a list of further streams, arrays that were made meanwhile.  Raises RecordingError if a
    kernel was given a stream together with memory that is neither, nor was made from them.
    """
    cdef Recorder made = Recorder.__new__(Recorder)
    made.begin(streams, constants, itemsize, images)
    try:
        results = function()
    finally:
        made.end()
    made.plan(results)
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
        stream.plain, stream.written = True, False
        self.count += 1
        return 0

    # ------------------------------------------------------------------------------- recording

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

    cdef int place_of(self, uintptr_t address, int* life, Py_ssize_t* offset) except -5:
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
        cdef int j, place, first_output = call.inputs
        cdef int readable = call.pointers if call.marks & ADDS else call.inputs
        cdef bint foreign = False, ours = True, fixed = True, streams = False
        cdef uintptr_t address
        memset(&step, 0, sizeof(step))
        for j in range(call.pointers):
            address = (<uintptr_t*> call.args)[j]
            step.place[j] = place = self.place_of(address, &step.life[j], &step.offset[j])
            if j < readable:
                fixed &= place == FIXED
                foreign |= place == FOREIGN or place == ARENA and life[step.life[j]].holds == NEW
                step.streaming |= place >= 0 or place == ARENA and life[step.life[j]].holds == STREAM
            if j >= first_output and address:
                ours &= place >= 0 or place == ARENA
                streams |= place >= 0 or place == ARENA and life[step.life[j]].holds == STREAM
        if step.streaming and (foreign or not ours):
            raise RecordingError("a kernel was given memory that is not known here")
        if foreign or not ours:
            if streams:
                raise RecordingError("a kernel writes over a stream what is not known here")
            for j in range(first_output, call.pointers):
                if step.place[j] == ARENA:
                    life[step.life[j]].holds = NEW
            return False
        step.loop, step.size, step.inputs, step.pointers = call.loop, call.size, call.inputs, call.pointers
        step.tasks, step.work, step.scratch, step.marks = call.tasks, call.work, call.scratch, call.marks
        if self.images == 1 or not (step.streaming or streams):
            step.marks &= ~LIVE  # whatever is packed are not images of the block
        elif step.marks & LIVE and (<Py_ssize_t*> call.args)[call.pointers] != self.images:
            raise RecordingError(f"a kernel was called for another number of images than {self.images}")
        step.time = BEFORE if call.marks & ONCE and fixed else EACH
        self.append(&step, call)
        for j in range(call.pointers):
            if step.place[j] == ARENA:
                life[step.life[j]].used = True
                if j >= first_output:
                    life[step.life[j]].holds = max(
                        life[step.life[j]].holds, STREAM if step.streaming else CONSTANT)
        return step.streaming

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

    # -------------------------------------------------------------------------------- planning

    cdef int plan(self, results) except -1:
        # The memory of `results` becomes streams; all other that the steps use gets its place.
        cdef int i, j, life
        cdef Step* step
        cdef Stream* stream
        stream_of = {}
        for array in tuple(results):
            self.add_stream(array)
            stream = &self.streams[self.count - 1]
            for life in range(self.lives.count):
                if (self.lives.life[life].owner != NULL and self.lives.life[life].address == stream.address
                        and self.lives.life[life].size == stream.size and self.lives.life[life].used
                        and life not in stream_of):
                    stream_of[life] = self.count - 1
                    break
            else:
                raise RecordingError("a result is no array of its own that the kernels wrote")
        self.forget_the_unused(set(stream_of))
        offsets = self.plan_arena(stream_of)
        for i in range(self.lives.steps):
            step = &self.steps[i]
            if step.time == NEVER:
                continue
            if step.time == EACH:
                self.work += step.work
                self.scratch_size = max(self.scratch_size, step.scratch)
            for j in range(step.pointers):
                life = step.life[j]
                if life in stream_of:
                    step.place[j] = stream_of[life]
                elif step.place[j] == ARENA:
                    shared, offset = offsets[life]
                    step.place[j] = SHARED if shared else ARENA
                    step.offset[j] += offset
                if step.place[j] >= 0:
                    stream = &self.streams[step.place[j]]
                    stream.written |= j >= step.inputs
                    stream.plain &= step.marks & LIVE and step.marks & FIRST_PLAIN << j and step.offset[j] == 0
        free(self.lives.life)
        self.lives.life, self.lives.count = NULL, 0
        self.done = True
        return 0

    cdef int forget_the_unused(self, set wanted) except -1:
        # Steps on constants whose results no other step reads: somebody else's, of the same weights.
        cdef int i, j
        cdef Step* step
        cdef bint needed
        for i in range(self.lives.steps):
            step = &self.steps[i]
            if step.streaming:
                wanted.update([step.life[j] for j in range(step.pointers)])
        for i in range(self.lives.steps - 1, -1, -1):
            step = &self.steps[i]
            needed = step.streaming
            for j in range(step.inputs, step.pointers):
                needed |= step.place[j] >= 0 or step.life[j] in wanted and step.place[j] == ARENA
            if needed:
                wanted.update([step.life[j] for j in range(step.pointers)])
            else:
                step.time = NEVER
        return 0

    cdef dict plan_arena(self, dict stream_of):
        # For each life whether it is shared, and its offset.
        cdef int i, j
        cdef Life* life
        offsets, used = {}, set()
        for i in range(self.lives.steps):
            for j in range(self.steps[i].pointers):
                if self.steps[i].time != NEVER and self.steps[i].place[j] == ARENA:
                    life = &self.lives.life[self.steps[i].life[j]]
                    if self.steps[i].time == BEFORE:
                        offsets[self.steps[i].life[j]] = True, self.shared_size
                        self.shared_size += whole_lines(life.size)
                    else:
                        used.add(self.steps[i].life[j])
        used = used.difference(offsets, stream_of)
        rest = sorted(used)
        sizes = [self.lives.life[<int> number].size for number in rest]
        starts = [self.lives.life[<int> number].first for number in rest]
        ends = [self.lives.life[<int> number].end for number in rest]
        arena, self.arena_size = first_fit(sizes, starts, ends, ALIGNMENT)
        offsets.update((number, (False, offset)) for number, offset in zip(rest, arena))
        return offsets
