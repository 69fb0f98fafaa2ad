#pragma once

#include <cstdint>

namespace hachi::server {

// Raises the process's limit on open files to what the system allows it, and returns that.
int64_t RaiseDescriptorLimit();

// How many more files this process may open now.
int64_t FreeDescriptors();

}  // namespace hachi::server
