// Products of short blocks of rows, the inner loops of most kernels.
//
// An engine accumulates, over several taps, rows of A times a matrix B:
//   out[row, column] = sum over taps, k of a[row * a_row + k] * b[k, column]
// Rows of A may overlap: so such a product convolves contiguous frames without
// copying them. B is [k, columns] in fp32 and, with adjacent pairs of k,
// [k / 2, columns, 2] in bf16. Its columns come in lines of 16.
#pragma once

#include "values.hpp"

namespace phasen {

constexpr int MOST_COLUMNS = 48;  // of a block
constexpr int MOST_ROWS = 32;

// Sizes of k. Of three lines of B the last one is zero for the first `edge` k,
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

// Vectors, in fp32 or in pairs of bf16: blocks whose sums fill most registers.
// AVX-512 has 32 of them, for 8 rows of 48 columns. Elsewhere there are 16 of 8
// values or 32 of 4, for 12 rows of 8 columns, 6 of 16, or 4 of 24.
template <typename T>
struct Vectors {
  using Value = T;
  static constexpr int GRAIN = PAIR<T>;  // of k
  static constexpr bool WIDE = WIDTH == LINE;
  static constexpr int ROW_GRAIN = WIDE ? 8 : 4;  // that fills blocks
  static void begin() {}
  static void end() {}

  // Sums of the vectors FROM to TO over a range of k.
  template <int FROM, int TO, int ROWS, int VECTORS>
  [[gnu::always_inline]] static void sum_up(Vector (&sum)[ROWS][VECTORS],
                                            const Tap<T>& tap, int64_t columns,
                                            int64_t k, int64_t end) {
    const T* b = tap.b + k * columns;
    for (; k < end; k += GRAIN, b += GRAIN * columns) {
      Vector weights[VECTORS];
#pragma GCC unroll 6
      for (int n = FROM; n < TO; n++)
        weights[n] = load_operand(b + GRAIN * WIDTH * n);
#pragma GCC unroll 12
      for (int r = 0; r < ROWS; r++) {
        const Vector x = repeat(tap.a + r * tap.a_row + k);
#pragma GCC unroll 6
        for (int n = FROM; n < TO; n++)
          sum[r][n] = multiply_add<T>(x, weights[n], sum[r][n]);
      }
    }
  }

  template <int ROWS, int VECTORS>
  [[gnu::always_inline]] static void clear(Vector (&sum)[ROWS][VECTORS]) {
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 6
      for (int n = 0; n < VECTORS; n++) sum[r][n] = zeros();
  }

  template <int ROWS, int VECTORS>
  [[gnu::always_inline]] static void write(const Vector (&sum)[ROWS][VECTORS],
                                           float* out) {
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 6
      for (int n = 0; n < VECTORS; n++)
        store(out + r * MOST_COLUMNS + n * WIDTH, sum[r][n]);
  }

  // The edges of B are those of 48 columns, of which the block's first is `at`.
  template <int ROWS, int COLUMNS>
  static void accumulate(const Tap<T>* taps, int count, const Depth& depth,
                         int64_t columns, int64_t at, float* out) {
    constexpr int VECTORS = COLUMNS / WIDTH, THIRD = LINE / WIDTH;
    constexpr bool WHOLE = COLUMNS == 3 * LINE;
    const int64_t start = WHOLE || at == 2 * LINE ? depth.edge : 0;
    const int64_t end = depth.size - (WHOLE || at == 0 ? depth.edge : 0);
    Vector sum[ROWS][VECTORS];
    clear(sum);
    for (int tap = 0; tap < count; tap++) {
      if constexpr (WHOLE)
        sum_up<0, VECTORS - THIRD>(sum, taps[tap], columns, 0, start);
      sum_up<0, VECTORS>(sum, taps[tap], columns, start, end);
      if constexpr (WHOLE)
        sum_up<THIRD, VECTORS>(sum, taps[tap], columns, end, depth.size);
    }
    write(sum, out);
  }

  // Columns of the next block, if so many are left.
  static int columns(int64_t left) {
    if (WIDE) return left > 32 ? 48 : left > 16 ? 32 : 16;
    return left <= 8 ? 8 : left > 16 && left <= 24 ? 24 : 16;
  }

  // Rows of the next block of so many columns, if so many are left.
  static int rows(int64_t left, int columns) {
    if (WIDE) return left > 2 ? 8 : 2;
    switch (columns) {
      case 8: return left <= 4 ? 4 : left <= 8 ? 8 : 12;
      case 24: return left <= 2 ? 2 : 4;
      default: return left <= 2 ? 2 : left <= 4 || left == 7 || left == 8 ? 4 : 6;
    }
  }

  template <int COLUMNS, int... ROWS, class... Arguments>
  static void with_rows(int rows, const Arguments&... arguments) {
    ((rows == ROWS ? accumulate<ROWS, COLUMNS>(arguments...) : void()), ...);
  }

  static void block(const Tap<T>* taps, int count, const Depth& depth,
                    int64_t columns, int64_t at, int block_columns, int rows,
                    float* out) {
    if constexpr (WIDE) switch (block_columns) {
        case 16: return with_rows<16, 2, 8>(rows, taps, count, depth, columns, at, out);
        case 32: return with_rows<32, 2, 8>(rows, taps, count, depth, columns, at, out);
        default: return with_rows<48, 2, 8>(rows, taps, count, depth, columns, at, out);
      }
    else switch (block_columns) {
        case 8: return with_rows<8, 4, 8, 12>(rows, taps, count, depth, columns, at, out);
        case 16: return with_rows<16, 2, 4, 6>(rows, taps, count, depth, columns, at, out);
        default: return with_rows<24, 2, 4>(rows, taps, count, depth, columns, at, out);
      }
  }
};

}  // namespace phasen
