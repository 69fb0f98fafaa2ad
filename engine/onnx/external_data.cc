#include "engine/onnx/external_data.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace hachi {
namespace {

absl::Status Refused(const std::string& location, std::string_view found, std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat("external data '", location, "': ", std::string(found),
                                                 ", expected ", std::string(expected)));
}

}  // namespace

absl::StatusOr<ExternalData> ParseExternalData(const onnx::TensorProto& proto) {
  ExternalData data;
  std::set<std::string> seen;
  for (const auto& entry : proto.external_data()) {
    const auto error = [&](std::string_view expected) {
      return absl::InvalidArgumentError(absl::StrCat("external data: ", entry.key(), " is '", entry.value(),
                                                     "', expected ", std::string(expected)));
    };
    if (!seen.insert(entry.key()).second) return error("each key once");
    int64_t number = 0;
    if (entry.key() == "location") {
      data.location = entry.value();
    } else if (entry.key() == "offset" || entry.key() == "length") {
      if (!absl::SimpleAtoi(entry.value(), &number) || number < 0) return error("a number of bytes");
      if (entry.key() == "offset")
        data.offset = number;
      else
        data.length = number;
    } else if (entry.key() != "checksum") {
      return error("only the keys location, offset, length and checksum");
    }
  }
  return data;
}

absl::StatusOr<std::filesystem::path> ResolveExternalFile(const std::string& location,
                                                          const std::filesystem::path& directory) {
  const std::filesystem::path relative(location);
  if (location.empty() || location.find('\0') != std::string::npos || relative.is_absolute())
    return Refused(location, "location is empty, absolute or holds a zero byte",
                   "a path relative to the model's directory");
  if (std::find(relative.begin(), relative.end(), "..") != relative.end())
    return Refused(location, "location holds '..'", "a path below the model's directory");
  std::error_code error;
  const auto root = std::filesystem::canonical(directory.empty() ? "." : directory, error);
  if (error)
    return absl::NotFoundError(absl::StrCat("directory '", directory.string(), "': ", error.message()));
  const auto file = std::filesystem::canonical(root / relative, error);
  if (error)
    return absl::NotFoundError(
        absl::StrCat("external data '", location, "': ", error.message(), ", expected a file"));
  if (std::mismatch(root.begin(), root.end(), file.begin(), file.end()).first != root.end())
    return Refused(location, "a symbolic link leads out of the model's directory", "a file inside it");
  if (!std::filesystem::is_regular_file(file, error)) return Refused(location, "not a regular file", "one");
  return file;
}

absl::StatusOr<Tensor> ReadExternalTensor(const ExternalData& data, DType dtype, const Shape& shape,
                                          const std::filesystem::path& directory) {
  ASSIGN_OR_RETURN(const auto file, ResolveExternalFile(data.location, directory));
  ASSIGN_OR_RETURN(const int64_t count, CheckedCount(shape, SizeOf(dtype)));
  const int64_t bytes = count * static_cast<int64_t>(SizeOf(dtype));
  if (data.length && *data.length != bytes)
    return Refused(data.location, absl::StrCat("length is ", *data.length),
                   absl::StrCat(bytes, " bytes for shape ", ShapeText(shape)));
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(file, error);
  const uintmax_t offset = static_cast<uintmax_t>(data.offset);
  if (error || offset > size || static_cast<uintmax_t>(bytes) > size - offset)
    return absl::DataLossError(absl::StrCat("external data '", data.location, "': the file has ", size,
                                            " bytes, expected ", bytes, " from offset ", offset));
  Tensor tensor(dtype, shape);
  std::ifstream in(file, std::ios::binary);
  in.seekg(data.offset);
  if (!in.read(reinterpret_cast<char*>(tensor.bytes().data()), bytes))
    return absl::UnavailableError(absl::StrCat("external data '", data.location, "': cannot be read"));
  return tensor;
}

}  // namespace hachi
