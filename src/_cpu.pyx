"""Which vector instructions this CPU has and this operating system saves; baseline code only."""

from libc.string cimport memset

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if defined(__x86_64__) || defined(_M_X64)
    #ifdef _MSC_VER
    #include <immintrin.h>
    #include <intrin.h>
    static void cpuid(uint32_t leaf, uint32_t sub, uint32_t out[4]) { __cpuidex((int *)out, (int)leaf, (int)sub); }
    static uint64_t saved_state(void) { return _xgetbv(0); }
    #else
    #include <cpuid.h>
    #ifdef __linux__
    #include <sys/syscall.h>
    #include <unistd.h>
    #endif
    static void cpuid(uint32_t leaf, uint32_t sub, uint32_t out[4])
    {
        __cpuid_count(leaf, sub, out[0], out[1], out[2], out[3]);
    }
    static uint64_t saved_state(void)
    {
        uint32_t low, high;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        return ((uint64_t)high << 32) | low;
    }
    #endif
    /* ecx of leaf 1; ebx, ecx and edx of leaf 7, eax of its second part, less what the operating system does not save */
    static void read_features(uint32_t found[6])
    {
        uint32_t r[4], parts;
        uint64_t saved;
        memset(found, 0, 6 * sizeof *found);
        cpuid(0, 0, r);
        if (r[0] < 7) return;
        cpuid(1, 0, r);
        if (!(r[2] & (1u << 27))) return; /* no OSXSAVE */
        saved = saved_state();
        if ((saved & 0x6) != 0x6) return; /* upper halves of ymm are not saved */
        found[0] = r[2];
        cpuid(7, 0, r);
        parts = r[0];
        found[1] = r[1];
        found[2] = r[2];
        found[4] = r[3];
        if (parts >= 1) {
            cpuid(7, 1, r);
            found[3] = r[0];
        }
        if ((saved & 0xe0) != 0xe0) {     /* nor are zmm and mask registers */
            found[1] &= ~((1u << 16) | (1u << 17) | (1u << 30) | (1u << 31));
            found[2] &= ~(1u << 11);
            found[3] &= ~(1u << 5);
        }
        if ((saved & 0x60000) != 0x60000) found[4] = 0; /* nor are tiles */
    }
    static int ask_for_tiles(void)
    {
    #ifdef __linux__
        return syscall(SYS_arch_prctl, 0x1023, 18) == 0; /* ARCH_REQ_XCOMP_PERM, the data of tiles */
    #else
        return 0;
    #endif
    }
    static void read_name(char name[49])
    {
        uint32_t r[4];
        cpuid(0x80000000u, 0, r);
        if (r[0] < 0x80000004u) return;
        for (uint32_t i = 0; i < 3; i++) cpuid(0x80000002u + i, 0, (uint32_t *)(name + 16 * i));
    }
    #else
    /* in the sixth word: bit 0, dot products of bytes; bit 1, those of unsigned and signed ones; bit 2, of bfloat16 */
    #if defined(__aarch64__) && defined(__linux__)
    #include <sys/auxv.h>
    static void read_features(uint32_t found[6])
    {
        memset(found, 0, 6 * sizeof *found);
        found[5] = (getauxval(AT_HWCAP) >> 20 & 1) | (getauxval(26 /* AT_HWCAP2 */) >> 13 & 3) << 1;
    }
    #elif defined(__aarch64__) && defined(__APPLE__)
    #include <sys/sysctl.h>
    static uint32_t has(const char *name)
    {
        int value = 0;
        size_t size = sizeof value;
        return sysctlbyname(name, &value, &size, NULL, 0) == 0 && value != 0;
    }
    static void read_features(uint32_t found[6])
    {
        memset(found, 0, 6 * sizeof *found);
        found[5] = has("hw.optional.arm.FEAT_DotProd") | has("hw.optional.arm.FEAT_I8MM") << 1
                   | has("hw.optional.arm.FEAT_BF16") << 2;
    }
    #else
    static void read_features(uint32_t found[6]) { memset(found, 0, 6 * sizeof *found); }
    #endif
    static int ask_for_tiles(void) { return 0; }
    static void read_name(char name[49]) { (void)name; }
    #endif
    """
    ctypedef unsigned int uint32_t
    void read_features(uint32_t* found)
    void read_name(char* name)
    int ask_for_tiles()


def features():
    """Names of the vector features that may be used, a frozenset."""
    cdef uint32_t found[6]
    read_features(found)
    bits = {"fma": found[0] >> 12, "avx2": found[1] >> 5, "avx512f": found[1] >> 16, "avx512dq": found[1] >> 17,
            "avx512bw": found[1] >> 30, "avx512vl": found[1] >> 31, "avx512_vnni": found[2] >> 11,
            "avx_vnni": found[3] >> 4, "avx512_bf16": found[3] >> 5,
            "amx_bf16": found[4] >> 22, "amx_tile": found[4] >> 24, "amx_int8": found[4] >> 25,
            "dotprod": found[5], "i8mm": found[5] >> 1, "bf16": found[5] >> 2}
    return frozenset({name for name, bit in bits.items() if bit & 1})


def tiles_granted():
    """Whether the operating system gives this process the tiles of AMX; a CPU that has them must be asked about first.

    Linux gives them on request, for good; from then on a stack for signals must have room for them too.
    """
    return bool(ask_for_tiles())


def brand():
    """The processor's own name, or an empty string."""
    cdef char name[49]
    memset(name, 0, sizeof(name))
    read_name(name)
    return name.decode("ascii", "replace").strip()
