#include "server/batching/request.h"

namespace hachi::server {

bool ByteBudget::TryAcquire(int64_t bytes) {
  int64_t used = used_bytes_.load(std::memory_order_relaxed);
  do {
    if (bytes > limit_bytes_ - used) return false;
  } while (!used_bytes_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  used_metric_.Increment(static_cast<double>(bytes));
  return true;
}

void ByteBudget::Release(int64_t bytes) {
  used_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  used_metric_.Decrement(static_cast<double>(bytes));
}

Request::~Request() {
  if (budget != nullptr) budget->Release(held_bytes);
}

void Request::AllocateOutputs(const std::vector<bool>& wanted) {
  constexpr size_t kAlignment = 16;  // of new; enough for every element type
  const std::vector<size_t>& row_bytes = rows.shapes->output_bytes;
  const auto bytes_of = [&](size_t i) {
    return wanted[i] ? row_bytes[i] * static_cast<size_t>(rows.count) : size_t{0};
  };
  const auto padded = [](size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; };
  size_t total = 0;
  for (size_t i = 0; i < row_bytes.size(); ++i) total += padded(bytes_of(i));
  output_bytes_ = std::make_unique_for_overwrite<std::byte[]>(total);

  if (rows.shapes->measured) rows.measured = &measured_;
  rows.outputs.clear();
  std::byte* next = output_bytes_.get();
  for (size_t i = 0; i < row_bytes.size(); ++i) {
    rows.outputs.emplace_back(next, bytes_of(i));
    next += padded(bytes_of(i));
  }
}

}  // namespace hachi::server
