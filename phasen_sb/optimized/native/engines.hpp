// Products of short blocks of rows, the inner loops of most kernels.
//
// An engine accumulates, over several taps, rows of A times a matrix B:
//   out[row, column] = sum over taps, k of a[row * a_row + k] * b[k, column]
// Rows of A may overlap: so such a product convolves contiguous frames without
// copying them. B is [k, columns] in fp32 and, with adjacent pairs of k,
// [k / 2, columns, 2] in bf16.
#pragma once

#include "values.hpp"

namespace phasen {

constexpr int MOST_COLUMNS = 48;  // of a block
constexpr int MOST_ROWS = 32;

// Vectors of the block that begins at a column.
inline int vectors_from(int64_t column, int64_t columns) {
  const int64_t left = columns - column;
  return (left < MOST_COLUMNS ? left : MOST_COLUMNS) / WIDTH;
}

// Sizes of k. Of three vectors of B the last one is zero for the first `edge` k,
// and the first one for the last `edge`, as in kernels of packed frames.
struct Depth {
  int64_t size, edge;
};

template <typename T>
struct Tap {
  const T* a;
  int64_t a_row;
  const T* b;
};

// Vectors, in fp32 or in pairs of bf16: 8 or 2 rows of up to 48 columns.
template <typename T>
struct Vectors {
  using Value = T;
  static constexpr int GRAIN = PAIR<T>;  // of k
  static void begin() {}
  static void end() {}

  // Sums of the vectors FROM to TO over a range of k.
  template <int FROM, int TO, int ROWS, int VECTORS>
  [[gnu::always_inline]] static void sum_up(__m512 (&sum)[ROWS][VECTORS],
                                            const Tap<T>& tap, int64_t columns,
                                            int64_t k, int64_t end) {
    const T* b = tap.b + k * columns;
    for (; k < end; k += GRAIN, b += GRAIN * columns) {
      __m512 weights[VECTORS];
#pragma GCC unroll 3
      for (int n = FROM; n < TO; n++)
        weights[n] = _mm512_loadu_ps(b + GRAIN * WIDTH * n);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; r++) {
        const __m512 x = repeat(tap.a + r * tap.a_row + k);
#pragma GCC unroll 3
        for (int n = FROM; n < TO; n++)
          sum[r][n] = multiply_add<T>(x, weights[n], sum[r][n]);
      }
    }
  }

  template <int ROWS, int VECTORS>
  static void accumulate(const Tap<T>* taps, int count, const Depth& depth,
                         int64_t columns, float* out) {
    __m512 sum[ROWS][VECTORS];
    for (int r = 0; r < ROWS; r++)
      for (int n = 0; n < VECTORS; n++) sum[r][n] = _mm512_setzero_ps();
    const int64_t start = VECTORS == 3 ? depth.edge : 0;
    const int64_t end = depth.size - start;
    for (int tap = 0; tap < count; tap++) {
      if constexpr (VECTORS == 3)
        sum_up<0, 2>(sum, taps[tap], columns, 0, start);
      sum_up<0, VECTORS>(sum, taps[tap], columns, start, end);
      if constexpr (VECTORS == 3)
        sum_up<1, 3>(sum, taps[tap], columns, end, depth.size);
    }
    for (int r = 0; r < ROWS; r++)
      for (int n = 0; n < VECTORS; n++)
        _mm512_store_ps(out + r * MOST_COLUMNS + n * WIDTH, sum[r][n]);
  }

  // Rows of the next block, if so many are left.
  static int rows(int64_t left) { return left > 2 ? 8 : 2; }

  static void block(const Tap<T>* taps, int count, const Depth& depth,
                    int64_t columns, int rows, int vectors, float* out) {
    if (rows == 2) switch (vectors) {
        case 1: return accumulate<2, 1>(taps, count, depth, columns, out);
        case 2: return accumulate<2, 2>(taps, count, depth, columns, out);
        default: return accumulate<2, 3>(taps, count, depth, columns, out);
      }
    switch (vectors) {
      case 1: return accumulate<8, 1>(taps, count, depth, columns, out);
      case 2: return accumulate<8, 2>(taps, count, depth, columns, out);
      default: return accumulate<8, 3>(taps, count, depth, columns, out);
    }
  }
};

// Tiles of 16 x 32 bf16 (AMX): 16 or 32 rows of up to 48 columns.
struct Tiles {
  using Value = bf16;
  static constexpr int GRAIN = 32;

  static void begin() {
    // Static: the compiler does not know that all of it is read.
    alignas(64) static const struct {
      std::uint8_t palette = 1, start = 0, reserved[14] = {};
      std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } shape;
    _tile_loadconfig(&shape);
  }
  static void end() { _tile_release(); }

  template <int BLOCKS, int VECTORS>
  static void accumulate(const Tap<bf16>* taps, int count, const Depth& depth,
                         int64_t columns, float* out) {
    _tile_zero(0);
    if constexpr (VECTORS > 1) _tile_zero(1);
    if constexpr (VECTORS > 2) _tile_zero(2);
    if constexpr (BLOCKS > 1) {
      _tile_zero(3);
      if constexpr (VECTORS > 1) _tile_zero(4);
      if constexpr (VECTORS > 2) _tile_zero(5);
    }
    // The compiler does not know that tiles are read from memory.
    asm volatile("" ::: "memory");
    const int64_t b_row = 4 * columns;
    for (int tap = 0; tap < count; tap++) {
      const bf16* a = taps[tap].a;
      const bf16* b = taps[tap].b;
      const bf16* under = a + 16 * taps[tap].a_row;
      const int64_t a_row = 2 * taps[tap].a_row;
      for (int64_t k = 0; k < depth.size; k += GRAIN, b += GRAIN * columns) {
        _tile_loadd(6, a + k, a_row);
        _tile_loadd(7, b, b_row);
        _tile_dpbf16ps(0, 6, 7);
        if constexpr (VECTORS > 1) {
          _tile_loadd(7, b + 32, b_row);
          _tile_dpbf16ps(1, 6, 7);
        }
        if constexpr (VECTORS > 2) {
          _tile_loadd(7, b + 64, b_row);
          _tile_dpbf16ps(2, 6, 7);
        }
        if constexpr (BLOCKS > 1) {
          _tile_loadd(6, under + k, a_row);
          if constexpr (VECTORS > 2) {
            _tile_dpbf16ps(5, 6, 7);
            _tile_loadd(7, b + 32, b_row);
          }
          if constexpr (VECTORS > 1) {
            _tile_dpbf16ps(4, 6, 7);
            _tile_loadd(7, b, b_row);
          }
          _tile_dpbf16ps(3, 6, 7);
        }
      }
    }
    constexpr int row = 4 * MOST_COLUMNS;
    _tile_stored(0, out, row);
    if constexpr (VECTORS > 1) _tile_stored(1, out + 16, row);
    if constexpr (VECTORS > 2) _tile_stored(2, out + 32, row);
    if constexpr (BLOCKS > 1) {
      float* lower = out + 16 * MOST_COLUMNS;
      _tile_stored(3, lower, row);
      if constexpr (VECTORS > 1) _tile_stored(4, lower + 16, row);
      if constexpr (VECTORS > 2) _tile_stored(5, lower + 32, row);
    }
  }

  static int rows(int64_t left) { return left > 16 ? 32 : 16; }

  static void block(const Tap<bf16>* taps, int count, const Depth& depth,
                    int64_t columns, int rows, int vectors, float* out) {
    if (rows == 16) switch (vectors) {
        case 1: return accumulate<1, 1>(taps, count, depth, columns, out);
        case 2: return accumulate<1, 2>(taps, count, depth, columns, out);
        default: return accumulate<1, 3>(taps, count, depth, columns, out);
      }
    switch (vectors) {
      case 1: return accumulate<2, 1>(taps, count, depth, columns, out);
      case 2: return accumulate<2, 2>(taps, count, depth, columns, out);
      default: return accumulate<2, 3>(taps, count, depth, columns, out);
    }
  }
};

}  // namespace phasen
