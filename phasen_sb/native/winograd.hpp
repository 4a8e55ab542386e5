// Convolution whose kernel is 5 frames long, or a multiple, in fp32, by
// Winograd's minimal filtering F(4, 5): 4 frames cost 8 products in place of
// 20 (Lavin and Gray, arXiv:1509.09308, section 4.1).
//
// A kernel of 5 taps and the 8 frames that 4 results see are polynomials. They
// are evaluated at 0, 1, -1, 2, -2, 1/2, -1/2 and infinity and multiplied
// there; the sum over channels, bins and fives of taps is interpolated once. At
// each point that is a product of matrices, whose rows are one or several bins.
#pragma once

#include <memory>

#include "convolution.hpp"

namespace phasen {

constexpr int POINTS = 8, MADE = 4, TAPS = 5;
// Rows at a time, whose data stays in L2.
constexpr int CHUNK = WIDTH == LINE ? 32 : 48;

struct Winograd {
  // Its weights are [points, fives, depth, padded outputs], its rows frames,
  // its outputs and their bias those of all bins in a row.
  Convolution<float> of;
  int64_t fives;     // of taps
  int64_t packed;    // bins in a row
  int64_t channels;  // of the input
};

inline Vector scaled(float a, Vector x) { return set(a) * x; }

// a * x + b * y + z.
inline Vector weighed(float a, Vector x, float b, Vector y, Vector z) {
  return multiply_add(set(a), x, multiply_add(set(b), y, z));
}

// Evaluates 8 frames at the points, up to factors that the weights contain, by
// the coefficients of Lagrange's polynomials.
inline void evaluate(const Vector (&d)[POINTS], Vector (&v)[POINTS]) {
  const auto both = [&](int at, Vector even, Vector odd) {
    v[at] = even + odd;
    v[at + 1] = even - odd;
  };
  v[0] = d[0] - multiply_add(set(5.25f), d[2] - d[4], d[6]);
  both(1, weighed(-4.25f, d[4], 1, d[2], d[6]),
       weighed(-4.25f, d[3], 1, d[1], d[5]));
  both(3, weighed(-1.25f, d[4], .25f, d[2], d[6]),
       scaled(2, weighed(-1.25f, d[3], .25f, d[1], d[5])));
  both(5, weighed(-5, d[4], 4, d[2], d[6]),
       scaled(.5f, weighed(-5, d[3], 4, d[1], d[5])));
  v[7] = multiply_add(set(5.25f), d[3] - d[5], d[7]) - d[1];
}

// Interpolates 4 frames from sums at the points: a transposed evaluation.
inline void interpolate(const Vector (&m)[POINTS], Vector (&y)[MADE]) {
  Vector sum[3], difference[3];
  for (int i = 0; i < 3; i++) {
    sum[i] = m[1 + 2 * i] + m[2 + 2 * i];
    difference[i] = m[1 + 2 * i] - m[2 + 2 * i];
  }
  y[0] = (m[0] + sum[0]) + (sum[1] + sum[2]);
  y[1] = weighed(2, difference[1], .5f, difference[2], difference[0]);
  y[2] = weighed(4, sum[1], .25f, sum[2], sum[0]);
  y[3] =
      weighed(8, difference[1], .125f, difference[2], difference[0]) + m[7];
}

// Evaluates frames of some bins at all points, to [points, fives, bins,
// channels]; bins outside of the spectrum are zero.
inline void evaluate_bins(const Winograd& w, int64_t bin, int64_t bins,
                          int64_t frame, float* v) {
  const Convolution<float>& c = w.of;
  const int64_t step = w.fives * bins * w.channels;
  for (int64_t five = 0; five < w.fives; five++)
    for (int64_t b = 0; b < bins; b++) {
      const bool inside = bin + b >= 0 && bin + b < c.bins;
      const float* x =
          c.x + (bin + b) * c.x_bin + (frame + TAPS * five) * c.x_row;
      float* out = v + (five * bins + b) * w.channels;
      for (int64_t n = 0; n < w.channels; n += WIDTH) {
        const Mask mask = first(w.channels - n);
        Vector d[POINTS], at[POINTS];
        for (int i = 0; i < POINTS; i++)
          d[i] = load(x + i * c.x_row + n, inside ? mask : first(0));
        evaluate(d, at);
        for (int i = 0; i < POINTS; i++) store(out + i * step + n, at[i], mask);
      }
    }
}

inline void convolve(const Winograd& w) {
  using Engine = Vectors<float>;
  const Convolution<float>& c = w.of;
  const int64_t columns = padded(c.outputs, LINE);
  const int64_t outputs = c.outputs / w.packed;
  const int64_t half = c.kernel_bins / 2;
  const int64_t most = CHUNK * w.packed + c.kernel_bins - 1;
  const int64_t rows = (c.bins + w.packed - 1) / w.packed;
  const int64_t chunks = (rows + CHUNK - 1) / CHUNK;
  const int64_t fours = c.rows / MADE;
  const std::unique_ptr<float[]> v(
      new float[POINTS * w.fives * most * w.channels]);
  alignas(64) float m[POINTS][CHUNK * MOST_COLUMNS];
  std::vector<Tap<float>> taps(w.fives);
  for (int64_t index = 0; index < fours * chunks; index++) {
    const int64_t frame = index % fours * MADE;
    const int64_t chunk = index / fours;
    // As even as blocks of rows allow.
    constexpr int grain = Engine::ROW_GRAIN;
    const int64_t row = padded(rows * chunk / chunks, grain);
    const int64_t end = padded(rows * (chunk + 1) / chunks, grain);
    const int64_t count = (end < rows ? end : rows) - row;
    const int64_t bins = count * w.packed + c.kernel_bins - 1;
    evaluate_bins(w, row * w.packed - half, bins, frame, v.get());
    for (int64_t n = 0; n < columns; n += MOST_COLUMNS) {
      const int64_t of_panel = std::min<int64_t>(c.outputs - n, MOST_COLUMNS);
      for (int point = 0; point < POINTS; point++)
        for (int64_t k = 0, width; k < of_panel; k += width) {
          width = Engine::columns(of_panel - k);
          for (int64_t r = 0, block; r < count; r += block) {
            block = Engine::rows(count - r, width);
            for (int64_t five = 0; five < w.fives; five++) {
              const int64_t at = point * w.fives + five;
              taps[five] = {
                  v.get() + (at * bins + r * w.packed) * w.channels,
                  w.packed * w.channels,
                  c.weight + at * c.depth.size * columns + n + k};
            }
            Engine::block(taps.data(), w.fives, c.depth, columns, n + k,
                          width, block, m[point] + r * MOST_COLUMNS + k);
          }
        }
      const int64_t left = outputs - n;
      const int64_t made = left < MOST_COLUMNS ? left : MOST_COLUMNS;
      const int64_t last = c.bins - row * w.packed;
      for (int64_t k = 0; k < made; k += WIDTH) {
        const Mask mask = first(made - k);
        const Vector bias = load(c.bias + n + k, mask);
        for (int64_t b = 0; b < count * w.packed && b < last; b++) {
          const int64_t at =
              b / w.packed * MOST_COLUMNS + b % w.packed * outputs + k;
          Vector sums[POINTS], y[MADE];
          for (int i = 0; i < POINTS; i++) sums[i] = load(m[i] + at, mask);
          interpolate(sums, y);
          for (int i = 0; i < MADE; i++)
            finish(c, row * w.packed + b, frame + i, n + k, mask,
                   y[i] + bias);
        }
      }
    }
  }
}

}  // namespace phasen
