#pragma once

#include <google/protobuf/io/coded_stream.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Protobuf's wire format, read as strictly as its own parser does: CodedInputStream alone takes numbers that
// are too long, and cuts them off. Errors are INVALID_ARGUMENT and say in a few words what is wrong. The
// stream has a limit.
namespace hachi::server {

// The next field's tag, 0 at the limit. Only wire types that protobuf 3 has: no groups.
absl::StatusOr<uint32_t> NextTag(google::protobuf::io::CodedInputStream& in);

// The length of what comes, all of which is there.
absl::StatusOr<int> ReadLength(google::protobuf::io::CodedInputStream& in);

// Skips a field whose tag was read.
absl::Status SkipField(google::protobuf::io::CodedInputStream& in, uint32_t tag);

}  // namespace hachi::server
