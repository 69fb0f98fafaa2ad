#include "engine/tensor/tensor.h"

#include <cstring>
#include <new>

namespace hachi {
namespace {
constexpr std::align_val_t kAlignment{64};
}

AlignedBuffer::AlignedBuffer(size_t bytes)
    : data_(static_cast<std::byte*>(::operator new(bytes, kAlignment))), size_(bytes) {
  std::memset(data_.get(), 0, bytes);
}

void AlignedBuffer::Free::operator()(std::byte* p) const { ::operator delete(p, kAlignment); }

}  // namespace hachi
