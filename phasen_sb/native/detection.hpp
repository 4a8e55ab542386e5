// Which kernels the CPU can run.
#pragma once

#ifdef __AMX_TILE__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace phasen {

enum Kind { FP32, BF16, AMX };

#ifdef __AMX_TILE__
inline bool has_tiles() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const unsigned wanted = 1u << 22 | 1u << 24;  // AMX-BF16, AMX-TILE
  // Linux permits tiles only to processes that ask for them.
  return (d & wanted) == wanted && !syscall(SYS_arch_prctl, 0x1023, 18);
}
#endif

// Whether this was compiled with a kind of kernel, and the CPU has what it
// needs.
inline bool supports(int kind) {
#if defined(__AVX512F__)
  if (!__builtin_cpu_supports("avx512f") ||
      !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512vl"))
    return false;
#elif defined(__AVX2__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    return false;
#endif
  if (kind == FP32) return true;
#ifdef __AVX512BF16__
  if (!__builtin_cpu_supports("avx512bf16")) return false;
  if (kind == BF16) return true;
#endif
#ifdef __AMX_TILE__
  if (kind == AMX) return has_tiles();
#endif
  return false;
}

}  // namespace phasen
