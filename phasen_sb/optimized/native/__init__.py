"""The layers of the optimised network in C++, for AVX2, AVX-512, AMX or NEON.

Installing the package compiles them if there is a compiler: one library for
each instruction set, from the same sources. Without one, and on other CPUs,
:mod:`phasen_sb.optimized.portable` computes the same.
"""
