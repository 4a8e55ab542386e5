// What Python calls, by ctypes: operations.py, convolution.py and recurrent.py
// document the arguments. It is compiled once for each instruction set.
#include "convolution.hpp"
#include "copies.hpp"
#include "detection.hpp"
#include "norms.hpp"
#include "rectified_norm.hpp"
#include "recurrent.hpp"
#include "transform.hpp"
#include "winograd.hpp"
#include "winograd_2d.hpp"

#ifdef __AMX_TILE__
#include "tiles.hpp"
#endif

using namespace phasen;

namespace {

template <class Argument>
const Argument& as(const void* arguments) {
  return *static_cast<const Argument*>(arguments);
}

// Calls with the engine of a kind of kernel.
template <class Work>
void with_engine(int kind, const Work& work) {
#ifdef __AMX_TILE__
  if (kind == AMX) return work(Tiles());
#endif
#ifdef __AVX512BF16__
  if (kind == BF16) return work(Vectors<bf16>());
#endif
  work(Vectors<float>());
}

// Calls with a value of the type that a kind of kernel computes.
template <class Work>
void with_type(int kind, const Work& work) {
#ifdef __AVX512BF16__
  if (kind != FP32) return work(bf16());
#endif
  work(float());
}

}  // namespace

extern "C" {

// The checksum of the sources that this was compiled from.
unsigned phasen_sources() { return PHASEN_SOURCES; }

int phasen_supports(int kind) { return supports(kind); }

void phasen_convolve(int kind, const void* arguments) {
  with_engine(kind, [=](auto engine) {
    using Engine = decltype(engine);
    using T = typename Engine::Value;
    convolve<Engine>(as<Convolution<T>>(arguments));
  });
}

void phasen_convolve_winograd(int, const void* arguments) {
  convolve(as<Winograd>(arguments));
}

// Convolutions in training: phasen_sb/network/winograd_convolution.py.
void phasen_filter(int, const void* arguments) {
  filter(as<Filtering>(arguments));
}

// Gradients of their weights and biases.
void phasen_differentiate(int, const void* arguments) {
  differentiate(as<Filtering>(arguments));
}

// Batch norm and ReLU in training: phasen_sb/network/rectified_norm.py.
void phasen_find_moments(int kind, const void* arguments, void* result) {
  with_type(kind, [=](auto value) {
    find_moments(as<RectifiedNorm<decltype(value)>>(arguments),
                 static_cast<Moments*>(result));
  });
}

void phasen_rectify(int kind, const void* arguments) {
  with_type(kind, [=](auto value) {
    normalize_and_rectify(as<RectifiedNorm<decltype(value)>>(arguments));
  });
}

void phasen_sum_up_gradients(int kind, const void* arguments, double* result) {
  with_type(kind, [=](auto value) {
    sum_up_gradients(as<RectifiedNorm<decltype(value)>>(arguments), result);
  });
}

void phasen_differentiate_norm(int kind, const void* arguments) {
  with_type(kind, [=](auto value) {
    differentiate(as<RectifiedNorm<decltype(value)>>(arguments));
  });
}

void phasen_transform(int kind, const void* arguments) {
  with_engine(kind, [=](auto engine) {
    using Engine = decltype(engine);
    using T = typename Engine::Value;
    transform<Engine>(as<Transform<T>>(arguments));
  });
}

void phasen_copy(int, const void* arguments) {
  copy(as<Copy>(arguments));
}

void phasen_to_float24(int, const void* arguments) {
  to_float24(as<Copy>(arguments));
}

void phasen_from_float24(int, const void* arguments) {
  from_float24(as<Copy>(arguments));
}

void phasen_affine(int kind, const void* arguments) {
  with_type(kind, [=](auto value) {
    affine(as<Norm<decltype(value)>>(arguments));
  });
}

void phasen_frame_norm(int kind, const void* arguments,
                       float eps) {
  with_type(kind, [=](auto value) {
    frame_norm(as<Norm<decltype(value)>>(arguments), eps);
  });
}

void phasen_moments(int kind, const void* arguments,
                    double* result) {
  with_type(kind, [=](auto value) {
    moments(as<Norm<decltype(value)>>(arguments), result);
  });
}

void phasen_recur(int kind, const void* arguments) {
  with_type(kind, [=](auto value) {
    recur(as<Recurrence<decltype(value)>>(arguments));
  });
}
}
