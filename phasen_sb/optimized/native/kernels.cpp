// What Python calls, by ctypes: operations.py, convolution.py and recurrent.py
// document the arguments.
#include "convolution.hpp"
#include "copies.hpp"
#include "detection.hpp"
#include "norms.hpp"
#include "recurrent.hpp"
#include "transform.hpp"
#include "winograd.hpp"

using namespace phasen;

extern "C" {

// The checksum of the sources that this was compiled from.
unsigned phasen_sources() { return PHASEN_SOURCES; }

int phasen_supports(int kind) { return supports(kind); }

void phasen_convolve(int kind, int threads, const void* arguments) {
  if (kind == FP32)
    convolve<Vectors<float>>(*(const Convolution<float>*)arguments, threads);
  else if (kind == BF16)
    convolve<Vectors<bf16>>(*(const Convolution<bf16>*)arguments, threads);
  else
    convolve<Tiles>(*(const Convolution<bf16>*)arguments, threads);
}

void phasen_convolve_winograd(int, int threads, const void* arguments) {
  convolve(*(const Winograd*)arguments, threads);
}

void phasen_transform(int kind, int threads, const void* arguments) {
  if (kind == FP32)
    transform<Vectors<float>>(*(const Transform<float>*)arguments, threads);
  else if (kind == BF16)
    transform<Vectors<bf16>>(*(const Transform<bf16>*)arguments, threads);
  else
    transform<Tiles>(*(const Transform<bf16>*)arguments, threads);
}

void phasen_copy(int, int threads, const void* arguments) {
  copy(*(const Copy*)arguments, threads);
}

void phasen_to_float24(int, int threads, const void* arguments) {
  to_float24(*(const Copy*)arguments, threads);
}

void phasen_from_float24(int, int threads, const void* arguments) {
  from_float24(*(const Copy*)arguments, threads);
}

void phasen_affine(int kind, int threads, const void* arguments) {
  if (kind == FP32)
    affine(*(const Norm<float>*)arguments, threads);
  else
    affine(*(const Norm<bf16>*)arguments, threads);
}

void phasen_frame_norm(int kind, int threads, const void* arguments,
                       float eps) {
  if (kind == FP32)
    frame_norm(*(const Norm<float>*)arguments, eps, threads);
  else
    frame_norm(*(const Norm<bf16>*)arguments, eps, threads);
}

void phasen_moments(int kind, int threads, const void* arguments,
                    double* result) {
  if (kind == FP32)
    moments(*(const Norm<float>*)arguments, result, threads);
  else
    moments(*(const Norm<bf16>*)arguments, result, threads);
}

void phasen_recur(int kind, int threads, const void* arguments) {
  if (kind == FP32)
    recur(*(const Recurrence<float>*)arguments, threads);
  else
    recur(*(const Recurrence<bf16>*)arguments, threads);
}
}
