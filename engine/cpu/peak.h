#pragma once

namespace hachi {

// Ceilings of this machine, measured: what `threads` threads reach together on products of registers, for the
// rung of DetectIsa(). A multiply-add is two operations. Takes about 0.2 s and starts its own threads; 0
// where the CPU lacks AVX2. Tiles (AMX) are not measured: there the figure is that of AVX-512 VNNI.
double PeakInt8OpsPerSecond(int threads);
double PeakFp32FlopsPerSecond(int threads);

}  // namespace hachi
