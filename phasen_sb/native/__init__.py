"""The C++ kernels, for AVX2, AVX-512, AMX or NEON, and what loads them.

Installing the package compiles them if there is a compiler: one library for
each instruction set, from the same sources. Without one, and on other CPUs,
PyTorch's operators compute the same.
"""
