#include "engine/tensor/tensor.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

namespace hachi {
namespace {

constexpr std::align_val_t kAlignment{64};

// What is as large is pages of its own, which the system has zeroed and gets back at once, whichever thread
// frees them: not again by us, and by whoever writes first, on a core of its own perhaps.
constexpr size_t kOwnPages = 1 << 20;

std::byte* Allocate(size_t bytes) {
  if (bytes < kOwnPages) {
    auto* p = static_cast<std::byte*>(::operator new(bytes, kAlignment));
    std::memset(p, 0, bytes);
    return p;
  }
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::byte*>(p);
}

}  // namespace

AlignedBuffer::AlignedBuffer(size_t bytes) : data_(Allocate(bytes), Free{bytes}) {}

void AlignedBuffer::Free::operator()(std::byte* p) const {
  if (size < kOwnPages)
    ::operator delete(p, kAlignment);
  else
    munmap(p, size);
}

}  // namespace hachi
