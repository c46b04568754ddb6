/* Teams of `core/pool.h` from many callers at once: every task is done once, and no slot is used twice
 * at a time.  Arguments: callers, threads of each, runs of each, CPUs. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void lock_pool(void) { pthread_mutex_lock(&lock); }
static void unlock_pool(void) { pthread_mutex_unlock(&lock); }
static int flush_denormals(void) { return 0; }
static unsigned long PyThread_start_new_thread(void (*main)(void *), void *x);
#include "pool.h"

typedef struct {
    void (*main)(void *);
    void *x;
} Start;
static void *begin(void *start)
{
    Start s = *(Start *)start;
    free(start);
    s.main(s.x);
    return NULL;
}
static unsigned long PyThread_start_new_thread(void (*main)(void *), void *x)
{
    Start *start = malloc(sizeof *start);
    pthread_t made;
    *start = (Start){main, x};
    return pthread_create(&made, NULL, begin, start) || pthread_detach(made) ? -1ul : 0;
}

enum { MOST_TASKS = 100, MOST_THREADS = 16 };
typedef struct {
    int done[MOST_TASKS], busy[MOST_THREADS];
    double total[MOST_THREADS]; /* not atomic: a race would be seen */
} Job;
static int threads, runs;

static void fail(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void work(const void *job, ptrdiff_t task, int slot)
{
    Job *j = (Job *)job;
    j->done[task]++;
    if (__atomic_fetch_add(&j->busy[slot], 1, __ATOMIC_RELAXED))
        fail("a slot was used twice at a time");
    j->total[slot] += 1;
    __atomic_fetch_add(&j->busy[slot], -1, __ATOMIC_RELAXED);
}

static void *call(void *number)
{
    unsigned seed = (unsigned)(size_t)number;
    for (int run = 0; run < runs; run++) {
        pool_team *team = pool_hire(2 + rand_r(&seed) % (threads - 1));
        if (!team)
            fail("no threads");
        for (int step = 0; team->threads > 1 && step < 5; step++) {
            int tasks = 1 + rand_r(&seed) % MOST_TASKS;
            double total = 0;
            Job job;
            memset(&job, 0, sizeof job);
            pool_share(team, work, &job, tasks, 1 + rand_r(&seed) % 4);
            for (int i = 0; i < MOST_TASKS; i++)
                if (job.done[i] != (i < tasks))
                    fail("a task was not done once");
            for (int i = 0; i < MOST_THREADS; i++)
                total += job.total[i];
            if (total != tasks)
                fail("a slot was lost");
        }
        pool_dismiss(team);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t callers[16];
    int number = count == 5 ? atoi(arguments[1]) : 0;
    if (number < 1 || number > 16)
        fail("expected callers, threads, runs, CPUs");
    threads = atoi(arguments[2]);
    runs = atoi(arguments[3]);
    pool_cpus = atoi(arguments[4]);
    for (int i = 0; i < number; i++)
        pthread_create(&callers[i], NULL, call, (void *)(size_t)(i + 1));
    for (int i = 0; i < number; i++)
        pthread_join(callers[i], NULL);
    if (pool_active)
        fail("threads were not given back");
    (void)pool_forget;
    return 0;
}
