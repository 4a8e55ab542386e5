"""The layers of the optimised network, by the C++ kernels.

Without them, :mod:`phasen_sb.optimized.portable` computes the same.
"""
