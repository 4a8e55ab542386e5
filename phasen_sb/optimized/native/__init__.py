"""The layers of the optimised network in C++, for CPUs with AVX-512 or AMX.

Installing the package compiles them if there is a compiler. Without one, and
on other CPUs, :mod:`phasen_sb.optimized.portable` computes the same.
"""
