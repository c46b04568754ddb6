/* What the core asks of the compiler and the operating system: threads, forks, memory, locks, and how
 * the CPU takes the smallest numbers. */

#ifndef CNN_EXT_SYSTEM_H
#define CNN_EXT_SYSTEM_H

#ifdef _MSC_VER
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL __thread
#endif
static THREAD_LOCAL void *active_recorder = NULL;

/* A number of the calling thread that no other thread has, before or after.  Under the lock below. */
static long long this_thread(void)
{
    static THREAD_LOCAL long long own = 0;
    static long long threads = 0;
    if (!own)
        own = ++threads;
    return own;
}

/* Arithmetic on denormal numbers is a hundred times slower; within a kernel they are zero.  A thread
 * calls the first function before its tasks and the second one after, with what the first gave. */
#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
typedef unsigned int cpu_mode;
static cpu_mode flush_denormals(void)
{
    cpu_mode before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); /* results, bit 15, and operands, bit 6 */
    return before;
}
static void put_back(cpu_mode before) { _mm_setcsr(before); }
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
typedef unsigned long long cpu_mode;
static cpu_mode flush_denormals(void)
{
    cpu_mode before;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(before));
    __asm__ __volatile__("msr fpcr, %0" : : "r"(before | 1ull << 24) : "memory");
    return before;
}
static void put_back(cpu_mode before)
{
    __asm__ __volatile__("msr fpcr, %0" : : "r"(before) : "memory");
}
#else
typedef int cpu_mode;
static cpu_mode flush_denormals(void) { return 0; }
static void put_back(cpu_mode before) { (void)before; }
#endif

#ifdef _WIN32

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#include <malloc.h>

static SRWLOCK pool = SRWLOCK_INIT;
static void lock_pool(void) { AcquireSRWLockExclusive(&pool); }
static void unlock_pool(void) { ReleaseSRWLockExclusive(&pool); }

#include "pool.h"

static void watch_forks(void) {}

static void *allocate(Py_ssize_t size) { return _aligned_malloc((size_t)size, 64); }
static void release(void *address) { _aligned_free(address); }

#else

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

static pthread_mutex_t pool = PTHREAD_MUTEX_INITIALIZER;
static void lock_pool(void) { pthread_mutex_lock(&pool); }
static void unlock_pool(void) { pthread_mutex_unlock(&pool); }

#include "pool.h"

/* The forking thread has the lock meanwhile, so the child gets it in order and gives it back. */
static void after_fork_in_child(void)
{
    pool_forget();
    unlock_pool();
}
static void watch_forks(void) { pthread_atfork(lock_pool, unlock_pool, after_fork_in_child); }

/* Where the system has large pages it is asked for them: going through much memory in small ones is slower. */
enum { LARGE_PAGE = 2 << 20 };
static void *allocate(Py_ssize_t size)
{
    void *address;
    int large = size >= LARGE_PAGE;
    if (posix_memalign(&address, large ? LARGE_PAGE : 64, (size_t)size))
        return NULL;
#ifdef MADV_HUGEPAGE
    if (large)
        madvise(address, (size_t)size, MADV_HUGEPAGE);
#endif
    return address;
}
static void release(void *address) { free(address); }

#endif

#endif
