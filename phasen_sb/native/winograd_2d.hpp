// Convolutions of 5 x 5 bins and frames in training, in fp32, by Winograd's
// filtering along both axes.
//
// Kernel and input, as polynomials of two variables, are multiplied at 8 x 8
// points (winograd.hpp does the same along one axis): a tile of 4 x 4 outputs
// takes 64 products in place of 400.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "engines.hpp"
#include "threads.hpp"
#include "winograd.hpp"

namespace phasen {

constexpr int POINTS_2D = POINTS * POINTS;
// Tiles at a time, whose data stays in L2.
constexpr int TILES = 12;

struct Filtering {
  float* x;       // [batch, bins, frames, inputs]
  float* y;       // [batch, bins, frames, outputs]
  float* weight;  // [64, inputs, outputs], outputs padded to lines
  float* bias;    // [outputs], padded to lines
  int64_t batch, bins, frames, inputs, outputs;
  int64_t past;  // frames that the kernel sees before the one it computes
  int64_t threads;
};

inline int64_t count_tiles(const Filtering& f) {
  return f.batch * ((f.bins + MADE - 1) / MADE) * ((f.frames + MADE - 1) / MADE);
}

// Where a tile's outputs begin.
struct Place {
  int64_t example, bin, frame;

  Place(const Filtering& f, int64_t tile) {
    const int64_t across = (f.frames + MADE - 1) / MADE;
    const int64_t down = (f.bins + MADE - 1) / MADE;
    frame = tile % across * MADE;
    bin = tile / across % down * MADE;
    example = tile / across / down;
  }
};

// Values (bin, frame) in memory.
struct Patch {
  float* at;
  int64_t bin_step, frame_step;

  float* operator()(int i, int j) const {
    return at + i * bin_step + j * frame_step;
  }
};

// SIZE x SIZE values, the last ones of which can be read as whole vectors;
// outside of the spectrogram, zeros in a buffer.
template <int SIZE>
inline Patch find_patch(const Filtering& f, float* data, int64_t channels,
                        int64_t example, int64_t bin, int64_t frame,
                        std::vector<float>& buffer) {
  const int64_t row = f.frames * channels;
  float* at = data + (example * f.bins + bin) * row + frame * channels;
  const Patch patch = {at, row, channels};
  const float* end = data + f.batch * f.bins * row;
  if (bin >= 0 && bin + SIZE <= f.bins && frame >= 0 &&
      frame + SIZE <= f.frames &&
      end - patch(SIZE - 1, SIZE - 1) >= padded(channels, WIDTH))
    return patch;
  const Patch copy = {buffer.data(), SIZE * channels, channels};
  for (int i = 0; i < SIZE; i++)
    for (int j = 0; j < SIZE; j++)
      if (bin + i >= 0 && bin + i < f.bins && frame + j >= 0 &&
          frame + j < f.frames)
        std::memcpy(copy(i, j), patch(i, j), channels * sizeof(float));
      else
        std::memset(copy(i, j), 0, channels * sizeof(float));
  return copy;
}

// Evaluates at the points a polynomial with these coefficients: the transpose
// of what interpolates results.
inline void extend(const Vector (&y)[MADE], Vector (&v)[POINTS]) {
  const auto both = [&](int at, float p) {
    const Vector even = multiply_add(set(p * p), y[2], y[0]);
    const Vector odd = multiply_add(set(p * p * p), y[3], scaled(p, y[1]));
    v[at] = even + odd;
    v[at + 1] = even - odd;
  };
  v[0] = y[0];
  both(1, 1);
  both(3, 2);
  both(5, .5f);
  v[7] = y[3];
}

// Transforms of tiles, [points, tiles, columns]. Points are an odd number of
// lines apart, so that they share no places in the cache, with room behind the
// last tile.
struct Points {
  int64_t columns, step;
  std::vector<float> values;

  explicit Points(int64_t columns)
      : columns(columns),
        step(((TILES * columns / LINE + 1) | 1) * LINE + 2 * LINE),
        // Blocks of rows may reach beyond the tiles.
        values(POINTS_2D * step + MOST_ROWS * columns + MOST_COLUMNS) {}

  float* at(int point, int64_t tile) {
    return values.data() + point * step + tile * columns;
  }
};

// Transforms values along both axes. Writes whole vectors, into what the next
// tile overwrites.
template <int SIZE, class Along>
inline void transform_tile(const Patch& patch, int64_t channels, Points& out,
                           int64_t tile, const Along& along) {
  for (int64_t n = 0; n < channels; n += WIDTH) {
    Vector half[POINTS][SIZE];
#pragma GCC unroll 8
    for (int j = 0; j < SIZE; j++) {
      Vector d[SIZE], v[POINTS];
#pragma GCC unroll 8
      for (int i = 0; i < SIZE; i++) d[i] = load(patch(i, j) + n);
      along(d, v);
#pragma GCC unroll 8
      for (int i = 0; i < POINTS; i++) half[i][j] = v[i];
    }
#pragma GCC unroll 8
    for (int i = 0; i < POINTS; i++) {
      Vector v[POINTS];
      along(half[i], v);
#pragma GCC unroll 8
      for (int j = 0; j < POINTS; j++)
        store(out.at(i * POINTS + j, tile) + n, v[j]);
    }
  }
}

// Evaluates the 8 x 8 inputs that a tile's outputs see.
inline void evaluate_tile(const Filtering& f, int64_t tile, Points& out,
                          int64_t at, std::vector<float>& buffer) {
  const Place place(f, tile);
  const Patch patch =
      find_patch<POINTS>(f, f.x, f.inputs, place.example, place.bin - TAPS / 2,
                         place.frame - f.past, buffer);
  transform_tile<POINTS>(
      patch, f.inputs, out, at,
      [](const Vector(&d)[POINTS], Vector(&v)[POINTS]) { evaluate(d, v); });
}

inline void filter(const Filtering& f, int64_t from, int64_t to) {
  using Engine = Vectors<float>;
  const int64_t columns = padded(f.outputs, LINE);
  const Depth depth = {f.inputs, 0};
  Points v(f.inputs), m(MOST_COLUMNS);
  std::vector<float> buffer(POINTS_2D * f.inputs + LINE);
  for (int64_t tile = from; tile < to; tile += TILES) {
    const int64_t count = std::min<int64_t>(to - tile, TILES);
    for (int64_t t = 0; t < count; t++)
      evaluate_tile(f, tile + t, v, t, buffer);
    for (int64_t n = 0; n < f.outputs; n += MOST_COLUMNS) {
      const int64_t made = std::min<int64_t>(f.outputs - n, MOST_COLUMNS);
      for (int point = 0; point < POINTS_2D; point++)
        for (int64_t k = 0, width; k < made; k += width) {
          width = Engine::columns(made - k);
          for (int64_t r = 0, block; r < count; r += block) {
            block = Engine::rows(count - r, width);
            const Tap<float> tap = {
                v.at(point, r), f.inputs,
                f.weight + point * f.inputs * columns + n + k};
            Engine::block(&tap, 1, depth, columns, n + k, width, block,
                          m.at(point, r) + k);
          }
        }
      for (int64_t t = 0; t < count; t++) {
        const Place place(f, tile + t);
        const int64_t row = f.frames * f.outputs;
        float* y = f.y + (place.example * f.bins + place.bin) * row +
                   place.frame * f.outputs + n;
        each_vector(made, [&](int64_t k, auto mask) {
          Vector half[MADE][POINTS];
#pragma GCC unroll 8
          for (int i = 0; i < POINTS; i++) {
            Vector sums[POINTS], results[MADE];
#pragma GCC unroll 8
            for (int j = 0; j < POINTS; j++)
              sums[j] = load(m.at(i * POINTS + j, t) + k);
            interpolate(sums, results);
#pragma GCC unroll 8
            for (int j = 0; j < MADE; j++) half[j][i] = results[j];
          }
          const Vector bias = load(f.bias + n + k);
#pragma GCC unroll 8
          for (int j = 0; j < MADE; j++) {
            Vector results[MADE];
            interpolate(half[j], results);
#pragma GCC unroll 8
            for (int i = 0; i < MADE; i++)
              if (place.bin + i < f.bins && place.frame + j < f.frames)
                store(y + i * row + j * f.outputs + k, results[i] + bias, mask);
          }
        });
      }
    }
  }
}

// Adds the products of columns of a and rows of b to out.
template <int ROWS, int VECTORS>
inline void add_outer_products(const float* a, int64_t a_step, const float* b,
                               int64_t b_step, int64_t count, float* out,
                               int64_t out_step) {
  Vector sum[ROWS][VECTORS];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 3
    for (int n = 0; n < VECTORS; n++) sum[r][n] = zeros();
  for (; count > 0; count--, a += a_step, b += b_step) {
    Vector values[VECTORS];
#pragma GCC unroll 3
    for (int n = 0; n < VECTORS; n++) values[n] = load(b + n * WIDTH);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
      const Vector x = repeat(a + r);
#pragma GCC unroll 3
      for (int n = 0; n < VECTORS; n++)
        sum[r][n] = multiply_add(x, values[n], sum[r][n]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 3
    for (int n = 0; n < VECTORS; n++) {
      float* at = out + r * out_step + n * WIDTH;
      store(at, load(at) + sum[r][n]);
    }
}

// Adds up the gradients of weight and bias, from the gradient y.
inline void differentiate(const Filtering& f, int64_t from, int64_t to,
                          float* weight, float* bias) {
  constexpr int ROWS = Vectors<float>::ROW_GRAIN;
  const int64_t inputs = padded(f.inputs, LINE);
  const int64_t columns = padded(f.outputs, LINE);
  Points v(inputs), z(columns);
  std::vector<float> buffer(POINTS_2D * std::max(f.inputs, f.outputs) + LINE);
  for (int64_t tile = from; tile < to; tile += TILES) {
    const int64_t count = std::min<int64_t>(to - tile, TILES);
    for (int64_t t = 0; t < count; t++) {
      evaluate_tile(f, tile + t, v, t, buffer);
      const Place place(f, tile + t);
      const Patch patch =
          find_patch<MADE>(f, f.y, f.outputs, place.example, place.bin,
                           place.frame, buffer);
      transform_tile<MADE>(
          patch, f.outputs, z, t,
          [](const Vector(&y)[MADE], Vector(&v)[POINTS]) { extend(y, v); });
      // At the point (1, 1) there is the sum of the tile.
      for (int64_t n = 0; n < columns; n += WIDTH)
        store(bias + n, load(bias + n) + load(z.at(POINTS + 1, t) + n));
    }
    for (int point = 0; point < POINTS_2D; point++)
      for (int64_t n = 0, width; n < f.outputs; n += width) {
        width = std::min<int64_t>(padded(f.outputs - n, WIDTH), 3 * WIDTH);
        for (int64_t k = 0; k < f.inputs; k += ROWS) {
          float* out = weight + (point * inputs + k) * columns + n;
          const auto add = [&](auto product) {
            product(v.at(point, 0) + k, inputs, z.at(point, 0) + n, columns,
                    count, out, columns);
          };
          if (width == WIDTH) add(add_outer_products<ROWS, 1>);
          else if (width == 2 * WIDTH) add(add_outer_products<ROWS, 2>);
          else add(add_outer_products<ROWS, 3>);
        }
      }
  }
}

inline void filter(const Filtering& f) {
  divide(count_tiles(f), f.threads, [&](int64_t, int64_t from, int64_t to) {
    filter(f, from, to);
  });
}

// Each thread has a weight and a bias of its own, [threads, ...], and pads the
// weight's inputs, too.
inline void differentiate(const Filtering& f) {
  const int64_t columns = padded(f.outputs, LINE);
  const int64_t size = POINTS_2D * padded(f.inputs, LINE) * columns;
  divide(count_tiles(f), f.threads,
         [&](int64_t thread, int64_t from, int64_t to) {
           differentiate(f, from, to, f.weight + thread * size,
                         f.bias + thread * columns);
         });
}

}  // namespace phasen
