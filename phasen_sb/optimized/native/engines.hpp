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

constexpr int MOST_LINES = 3;  // of a block
constexpr int MOST_COLUMNS = MOST_LINES * LINE;
constexpr int MOST_ROWS = 32;

// Lines of the block that begins at a column.
inline int lines_from(int64_t column, int64_t columns) {
  const int64_t left = columns - column;
  return (left < MOST_COLUMNS ? left : MOST_COLUMNS) / LINE;
}

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

// Vectors, in fp32 or in pairs of bf16: some rows of some lines, whose sums fill
// most registers. There are 32 with AVX-512, 8 rows of 48 columns; elsewhere 16
// of 8 values or 32 of 4, 6 rows of 16 columns.
template <typename T>
struct Vectors {
  using Value = T;
  static constexpr int GRAIN = PAIR<T>;  // of k
  static constexpr bool WIDE = WIDTH == LINE;
  static constexpr int ROW_GRAIN = WIDE ? 8 : 2;  // that leaves no row over
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
#pragma GCC unroll 4
      for (int n = FROM; n < TO; n++)
        weights[n] = load_operand(b + GRAIN * WIDTH * n);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; r++) {
        const Vector x = repeat(tap.a + r * tap.a_row + k);
#pragma GCC unroll 4
        for (int n = FROM; n < TO; n++)
          sum[r][n] = multiply_add<T>(x, weights[n], sum[r][n]);
      }
    }
  }

  template <int ROWS, int VECTORS>
  [[gnu::always_inline]] static void clear(Vector (&sum)[ROWS][VECTORS]) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
      for (int n = 0; n < VECTORS; n++) sum[r][n] = zeros();
  }

  template <int ROWS, int VECTORS>
  [[gnu::always_inline]] static void write(const Vector (&sum)[ROWS][VECTORS],
                                           float* out) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
      for (int n = 0; n < VECTORS; n++)
        store(out + r * MOST_COLUMNS + n * WIDTH, sum[r][n]);
  }

  // All lines at once.
  template <int ROWS, int LINES>
  static void accumulate(const Tap<T>* taps, int count, const Depth& depth,
                         int64_t columns, float* out) {
    Vector sum[ROWS][LINES];
    clear(sum);
    const int64_t start = LINES == 3 ? depth.edge : 0;
    const int64_t end = depth.size - start;
    for (int tap = 0; tap < count; tap++) {
      if constexpr (LINES == 3) sum_up<0, 2>(sum, taps[tap], columns, 0, start);
      sum_up<0, LINES>(sum, taps[tap], columns, start, end);
      if constexpr (LINES == 3)
        sum_up<1, 3>(sum, taps[tap], columns, end, depth.size);
    }
    write(sum, out);
  }

  // Line after line.
  template <int ROWS>
  static void accumulate_lines(const Tap<T>* taps, int count,
                               const Depth& depth, int64_t columns, int lines,
                               float* out) {
    for (int line = 0; line < lines; line++) {
      const int64_t edge = lines == 3 ? depth.edge : 0;
      const int64_t start = line == 2 ? edge : 0;
      const int64_t end = line == 0 ? depth.size - edge : depth.size;
      Vector sum[ROWS][LINE_VECTORS];
      clear(sum);
      for (int tap = 0; tap < count; tap++) {
        const Tap<T> of_line = {taps[tap].a, taps[tap].a_row,
                                taps[tap].b + line * LINE * GRAIN};
        sum_up<0, LINE_VECTORS>(sum, of_line, columns, start, end);
      }
      write(sum, out + line * LINE);
    }
  }

  // Rows of the next block, if so many are left.
  static int rows(int64_t left) {
    if (WIDE) return left > 2 ? 8 : 2;
    return left <= 2 ? 2 : left <= 4 || left == 7 || left == 8 ? 4 : 6;
  }

  static void block(const Tap<T>* taps, int count, const Depth& depth,
                    int64_t columns, int rows, int lines, float* out) {
    if constexpr (!WIDE) {
      switch (rows) {
        case 2:
          return accumulate_lines<2>(taps, count, depth, columns, lines, out);
        case 4:
          return accumulate_lines<4>(taps, count, depth, columns, lines, out);
        default:
          return accumulate_lines<6>(taps, count, depth, columns, lines, out);
      }
    } else {
      if (rows == 2) switch (lines) {
          case 1: return accumulate<2, 1>(taps, count, depth, columns, out);
          case 2: return accumulate<2, 2>(taps, count, depth, columns, out);
          default: return accumulate<2, 3>(taps, count, depth, columns, out);
        }
      switch (lines) {
        case 1: return accumulate<8, 1>(taps, count, depth, columns, out);
        case 2: return accumulate<8, 2>(taps, count, depth, columns, out);
        default: return accumulate<8, 3>(taps, count, depth, columns, out);
      }
    }
  }
};

}  // namespace phasen
