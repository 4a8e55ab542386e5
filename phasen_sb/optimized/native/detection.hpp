// Which kernels the CPU can run.
#pragma once

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace phasen {

enum Kind { FP32, BF16, AMX };

inline bool has_tiles() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const unsigned wanted = 1u << 22 | 1u << 24;  // AMX-BF16, AMX-TILE
  // Linux permits tiles only to processes that ask for them.
  return (d & wanted) == wanted && !syscall(SYS_arch_prctl, 0x1023, 18);
}

inline bool has_vectors() {
  return __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

// Whether the CPU has what a kind of kernel needs.
inline bool supports(int kind) {
  if (!has_vectors()) return false;
  if (kind == FP32) return true;
  if (!__builtin_cpu_supports("avx512bf16")) return false;
  return kind == BF16 || has_tiles();
}

}  // namespace phasen
