// Convolution of a tile [bins, rows, columns], with what follows it.
//
// Rows are computed in blocks. So up to 15 more rows than asked for are read,
// and up to 31 values behind the last one that a row sees; they do not matter
// as long as they are finite.
#pragma once

#include <algorithm>
#include <vector>

#include "engines.hpp"

namespace phasen {

enum After { NOTHING, RELU, GATE };

template <typename T>
struct Convolution {
  const T* x;  // the first frame that the first row sees
  int64_t x_bin, x_row;
  const T* weight;  // [kernel_bins, depth, padded outputs], see engines.hpp
  int64_t kernel_bins;
  Depth depth;
  int64_t outputs;
  const float* bias;
  T* y;
  int64_t y_bin, y_row;
  int64_t bins, rows;
  After after;
  const T* gated;  // what is multiplied by the tanh of the result
  int64_t gated_bin, gated_row;
  const T* added;  // what is added in the end, or null
  int64_t added_bin, added_row;
};

// Applies what follows the convolution to one vector of results, of channels
// from `at` on, and writes it.
template <typename T>
inline void finish(const Convolution<T>& c, int64_t bin, int64_t row,
                   int64_t at, Mask mask, Vector value) {
  const auto of = [&](const T* x, int64_t bin_step, int64_t row_step) {
    return load(x + bin * bin_step + row * row_step + at, mask);
  };
  if (c.after == RELU) value = relu(value);
  if (c.after == GATE)
    value = hyperbolic_tangent<T>(value) * of(c.gated, c.gated_bin, c.gated_row);
  if (c.added) value = value + of(c.added, c.added_bin, c.added_row);
  store(c.y + bin * c.y_bin + row * c.y_row + at, value, mask);
}

template <class Engine>
void convolve(const Convolution<typename Engine::Value>& c) {
  using T = typename Engine::Value;
  const int64_t columns = padded(c.outputs, LINE);
  const int64_t half = c.kernel_bins / 2;
  Engine::begin();
  alignas(64) float out[MOST_ROWS * MOST_COLUMNS];
  std::vector<Tap<T>> taps(c.kernel_bins);
  for (int64_t bin = 0; bin < c.bins; bin++) {
    for (int64_t n = 0, width; n < c.outputs; n += width) {
      width = Engine::columns(c.outputs - n);
      const int64_t end = std::min(n + width, c.outputs);
      for (int64_t row = 0, rows; row < c.rows; row += rows) {
        rows = Engine::rows(c.rows - row, width);
        int count = 0;
        for (int64_t tap = 0; tap < c.kernel_bins; tap++) {
          const int64_t from = bin + tap - half;
          if (from < 0 || from >= c.bins) continue;
          taps[count++] = {
              c.x + from * c.x_bin + row * c.x_row, c.x_row,
              c.weight + tap * c.depth.size * columns + n * PAIR<T>};
        }
        Engine::block(taps.data(), count, c.depth, columns, n, width, rows,
                      out);
        for (int64_t at = n; at < end; at += WIDTH) {
          const Mask mask = first(end - at);
          const Vector bias = load(c.bias + at, mask);
          const float* sum = out + at - n;
          for (int r = 0; r < rows && row + r < c.rows;
               r++, sum += MOST_COLUMNS)
            finish(c, bin, row + r, at, mask, load(sum) + bias);
        }
      }
    }
  }
  Engine::end();
}

}  // namespace phasen
