"""Which vector instructions this CPU has and this operating system saves; baseline code only."""

from libc.string cimport memset

cdef extern from *:
    """
    #include <stdint.h>
    #if defined(__x86_64__) || defined(_M_X64)
    #ifdef _MSC_VER
    #include <immintrin.h>
    #include <intrin.h>
    static void cpuid(uint32_t leaf, uint32_t out[4]) { __cpuidex((int *)out, (int)leaf, 0); }
    static uint64_t saved_state(void) { return _xgetbv(0); }
    #else
    #include <cpuid.h>
    static void cpuid(uint32_t leaf, uint32_t out[4])
    {
        __cpuid_count(leaf, 0, out[0], out[1], out[2], out[3]);
    }
    static uint64_t saved_state(void)
    {
        uint32_t low, high;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        return ((uint64_t)high << 32) | low;
    }
    #endif
    /* ecx of leaf 1 and ebx of leaf 7, less what the operating system does not save */
    static void read_features(uint32_t *leaf1, uint32_t *leaf7)
    {
        uint32_t r[4];
        uint64_t saved;
        *leaf1 = *leaf7 = 0;
        cpuid(0, r);
        if (r[0] < 7) return;
        cpuid(1, r);
        if (!(r[2] & (1u << 27))) return; /* no OSXSAVE */
        saved = saved_state();
        if ((saved & 0x6) != 0x6) return; /* upper halves of ymm are not saved */
        *leaf1 = r[2];
        cpuid(7, r);
        *leaf7 = r[1];
        if ((saved & 0xe0) != 0xe0)       /* nor are zmm and mask registers */
            *leaf7 &= ~((1u << 16) | (1u << 17) | (1u << 30) | (1u << 31));
    }
    static void read_name(char name[49])
    {
        uint32_t r[4];
        cpuid(0x80000000u, r);
        if (r[0] < 0x80000004u) return;
        for (uint32_t i = 0; i < 3; i++) cpuid(0x80000002u + i, (uint32_t *)(name + 16 * i));
    }
    #else
    static void read_features(uint32_t *leaf1, uint32_t *leaf7) { *leaf1 = *leaf7 = 0; }
    static void read_name(char name[49]) { (void)name; }
    #endif
    """
    ctypedef unsigned int uint32_t
    void read_features(uint32_t* leaf1, uint32_t* leaf7)
    void read_name(char* name)


def features():
    """Names of the vector features that may be used, a frozenset."""
    cdef uint32_t leaf1, leaf7
    read_features(&leaf1, &leaf7)
    bits = {"fma": leaf1 >> 12, "avx2": leaf7 >> 5, "avx512f": leaf7 >> 16, "avx512dq": leaf7 >> 17,
            "avx512bw": leaf7 >> 30, "avx512vl": leaf7 >> 31}
    return frozenset({name for name, bit in bits.items() if bit & 1})


def brand():
    """The processor's own name, or an empty string."""
    cdef char name[49]
    memset(name, 0, sizeof(name))
    read_name(name)
    return name.decode("ascii", "replace").strip()
